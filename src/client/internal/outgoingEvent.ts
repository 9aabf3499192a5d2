/**
 * Events on their way out: checked here as far as they can be, and written as JSON once.
 */

import * as Result from "effect/Result"
import * as Event from "../../events/Event.ts"
import * as ChannelName from "../../protocol/ChannelName.ts"
import type { FromClient } from "../../protocol/Command.ts"
import * as Json from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  fromCode,
  MessageEncodeError,
  ProtocolError,
  UnknownServerError
} from "../../protocol/KosmonautError.ts"
import { isReason } from "./target.ts"

/** A broadcast as a command. */
type EncodedBroadcast = Extract<FromClient, { readonly _tag: "Broadcast" }>

/** A broadcast as a command, or why it cannot be. */
export const encodeBroadcast = (
  channel: string,
  event: Named,
  data: unknown,
  exceptSid: string | undefined
): Result.Result<EncodedBroadcast, ChannelNotFoundError | BadRequestError | MessageEncodeError> => {
  if (!ChannelName.isValid(channel)) return Result.fail(new ChannelNotFoundError({ channel }))
  const encoded = encodeData(event, data)
  return Result.isFailure(encoded)
    ? Result.fail(encoded.failure)
    : Result.succeed({
      _tag: "Broadcast",
      channel,
      event: nameOf(event),
      data: encoded.success,
      exceptSid: exceptSid || undefined
    })
}

/** An event by its name, or by its definition. */
export type Named = string | Event.Any

/** An event as it travels, or why it cannot. */
export const encodeEvent = (
  event: Named,
  data: unknown
): Result.Result<{ readonly event: string; readonly data: string }, BadRequestError | MessageEncodeError> =>
  Result.map(encodeData(event, data), (data) => ({ event: nameOf(event), data }))

const nameOf = (event: Named): string => typeof event === "string" ? event : event._tag

const encodeData = (
  event: Named,
  data: unknown = {}
): Result.Result<string, BadRequestError | MessageEncodeError> => {
  const name = nameOf(event)
  if (name === "") return Result.fail(new BadRequestError({ detail: "an event needs a name" }))
  if (name.startsWith(":")) {
    return Result.fail(
      new BadRequestError({ detail: `${name.slice(0, 100)}: event names that begin with : are reserved` })
    )
  }
  return typeof event === "string" ? encodeJson(data) : Event.encode(event, data)
}

const encodeJson = (data: unknown): Result.Result<string, MessageEncodeError> => {
  const json = Json.stringify(data)
  if (Result.isSuccess(json) && json.success.startsWith("{")) return Result.succeed(json.success)
  return Result.fail(
    Result.isSuccess(json)
      ? new MessageEncodeError({ argument: "the event's data", detail: "its JSON is not an object" })
      : new MessageEncodeError({
        argument: "the event's data",
        detail: "it cannot be written as JSON",
        cause: json.failure
      })
  )
}

/** Many broadcasts as one JSON text. The data are JSON already and are not written again. */
export const listOf = (broadcasts: ReadonlyArray<EncodedBroadcast>): string => {
  const items = broadcasts.map(({ channel, data, event, exceptSid }) => {
    const names = `${JSON.stringify(channel)},${JSON.stringify(event)},${data}`
    return exceptSid === undefined ? `[${names}]` : `[${names},${JSON.stringify(exceptSid)}]`
  })
  return `[${items.join(",")}]`
}

/** The outcome of one broadcast of many, by its status code. */
export const broadcastResult = (
  channel: string,
  code: number
): Result.Result<void, ChannelNotFoundError | ProtocolError> => {
  if (code === 204) return Result.void
  const error = fromCode(code, { channel, detail: `the broker did not broadcast on ${channel}` })
  if (error._tag === "ChannelNotFoundError") return Result.fail(error)
  return Result.fail(new ProtocolError({ reason: isReason(error) ? error : new UnknownServerError({ code }) }))
}
