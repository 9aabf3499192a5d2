/**
 * Events on their way out: checked here as far as they can be, and written as JSON once.
 */

import * as Result from "effect/Result"
import * as ChannelName from "../../protocol/ChannelName.ts"
import * as Json from "../../protocol/Json.ts"
import {
  BadRequestError,
  ChannelNotFoundError,
  MessageEncodeError,
  UnknownServerError
} from "../../protocol/KosmonautError.ts"

/** A broadcast as it is asked for. */
export interface Broadcast {
  readonly channel: string
  readonly event: string
  readonly data?: object | undefined
  readonly exceptSid?: string | undefined
}

/** A broadcast as it travels. */
export interface EncodedBroadcast {
  readonly channel: string
  readonly event: string
  readonly data: string
  readonly exceptSid: string | undefined
}

/** A broadcast as it travels, or why it cannot. */
export const encodeBroadcast = (
  { channel, data, event, exceptSid }: Broadcast
): Result.Result<EncodedBroadcast, ChannelNotFoundError | BadRequestError | MessageEncodeError> =>
  ChannelName.isValid(channel)
    ? Result.map(
      encodeEvent(event, data),
      (data) => ({ channel, event, data, exceptSid: exceptSid === "" ? undefined : exceptSid })
    )
    : Result.fail(new ChannelNotFoundError({ channel }))

/** An event's data as they travel, or why they cannot. */
export const encodeEvent = (
  event: string,
  data: object = {}
): Result.Result<string, BadRequestError | MessageEncodeError> =>
  event === "" ? Result.fail(new BadRequestError({ detail: "an event needs a name" })) : encodeData(data)

const encodeData = (data: object): Result.Result<string, MessageEncodeError> =>
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
export const broadcastResult = (
  channel: string,
  code: number
): Result.Result<void, ChannelNotFoundError | BadRequestError | UnknownServerError> => {
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
