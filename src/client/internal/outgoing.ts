/**
 * Events on their way out: checked here as far as they can be, and written as JSON once.
 */

import * as Result from "effect/Result"
import * as Event from "../../events/Event.ts"
import * as ChannelName from "../../protocol/ChannelName.ts"
import * as Json from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  MessageEncodeError,
  UnknownServerError
} from "../../protocol/KosmonautError.ts"

/** A broadcast as it travels. */
export interface EncodedBroadcast {
  readonly channel: string
  readonly event: string
  readonly data: string
  readonly exceptSid: string | undefined
}

/** A broadcast as it travels, or why it cannot. */
export const encodeBroadcast = (
  { channel, data, event, exceptSid }: {
    readonly channel: string
    readonly event: Named
    readonly data?: unknown
    readonly exceptSid?: string | undefined
  }
): Result.Result<EncodedBroadcast, ChannelNotFoundError | BadRequestError | MessageEncodeError> =>
  ChannelName.isValid(channel)
    ? Result.map(
      encodeEvent(event, data),
      (encoded) => ({ channel, ...encoded, exceptSid: exceptSid === "" ? undefined : exceptSid })
    )
    : Result.fail(new ChannelNotFoundError({ channel }))

/** An event by its name, or by its definition. */
export type Named = string | Event.Any

/** An event as it travels, or why it cannot. */
export const encodeEvent = (
  event: Named,
  data: unknown = {}
): Result.Result<{ readonly event: string; readonly data: string }, BadRequestError | MessageEncodeError> => {
  if (event === "") return Result.fail(new BadRequestError({ detail: "an event needs a name" }))
  return typeof event === "string"
    ? Result.map(encodeData(data), (data) => ({ event, data }))
    : Result.map(Event.encode(event, data), (data) => ({ event: event.wireName, data }))
}

const encodeData = (data: unknown): Result.Result<string, MessageEncodeError> =>
  Result.mapError(
    Json.stringify(data),
    (cause) => new MessageEncodeError({ argument: "the event's data", detail: "it cannot be written as JSON", cause })
  ).pipe(
    Result.filterOrFail(
      (json) => json.startsWith("{"),
      () => new MessageEncodeError({ argument: "the event's data", detail: "its JSON is not an object" })
    )
  )

/** Many broadcasts as one JSON text. The data are JSON already and are not written again. */
export const listOf = (broadcasts: ReadonlyArray<EncodedBroadcast>): string => {
  const items = broadcasts.map(({ channel, data, event, exceptSid }) => {
    const names = `${JSON.stringify(channel)},${JSON.stringify(event)},${data}`
    return exceptSid === undefined ? `[${names}]` : `[${names},${JSON.stringify(exceptSid)}]`
  })
  return `[${items.join(",")}]`
}

/** What a status code says of one broadcast of many. */
export const broadcastResult = (channel: string, code: number): Result.Result<
  void,
  BadRequestError | ChannelNotFoundError | UnknownServerError
> => {
  switch (code) {
    case 204:
      return Result.void
    case 400:
      return Result.fail(new BadRequestError({ detail: `the broker did not understand a broadcast on ${channel}` }))
    case 454:
      return Result.fail(new ChannelNotFoundError({ channel }))
    default:
      return Result.fail(new UnknownServerError({ code }))
  }
}
