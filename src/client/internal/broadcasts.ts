/**
 * What a Client sends to browsers.
 */

import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Channel from "../../events/Channel.ts"
import type * as Event from "../../events/Event.ts"
import { FromClient } from "../../protocol/Command.ts"
import {
  BadRequestError,
  BrowserNotFoundError,
  type ChannelNotFoundError,
  MessageDecodeError,
  type MessageEncodeError,
  ProtocolError
} from "../../protocol/KosmonautError.ts"
import type { Broadcast, BroadcastError, BroadcastOptions, ChannelLike, RequestError } from "../ClientRequest.ts"
import { broadcastResult, encodeBroadcast, encodeEvent, listOf, type Named } from "./outgoingEvent.ts"
import { type Requests, toProtocolError } from "./request.ts"
import { expecting } from "./target.ts"

/** `Client.broadcast`, `Client.broadcastAll`, `Client.sendTo` and `Client.sendToUser`. */
export const make = ({ inRoom, query, execute, executeIn }: Requests) => ({
  broadcast: (channel: ChannelLike, event: Named, data?: unknown, options?: BroadcastOptions) =>
    inRoom(emptyBroadcast, (fiber): Effect.Effect<void, RequestError | ChannelNotFoundError> => {
      const encoded = typeof channel === "string"
        ? encodeBroadcast(channel, event, data, options?.exceptSid)
        : Result.flatMap(
          declaredOn(channel, event),
          (event) => encodeBroadcast(channel.name, event, data, options?.exceptSid)
        )
      return Result.isSuccess(encoded)
        ? executeIn(fiber, encoded.success, notFound)
        : Effect.fail(refusal(encoded.failure))
    }),

  broadcastAll: Effect.fnUntraced(function*(
    broadcasts: ReadonlyArray<Broadcast>
  ): Effect.fn.Return<ReadonlyArray<Result.Result<void, BroadcastError>>, RequestError> {
    yield* inRoom(FromClient.BroadcastAll({ broadcasts: "" }), () => Effect.void)
    const encoded = broadcasts.map(({ channel, data, event, exceptSid }) =>
      Result.mapError(encodeBroadcast(channel, event, data, exceptSid), refusal)
    )
    const sent = Arr.getSuccesses(encoded)
    const codes = sent.length === 0
      ? []
      : yield* query(FromClient.BroadcastAll({ broadcasts: listOf(sent) }))
    if (codes.length !== sent.length) {
      const detail = `${sent.length} broadcasts were answered with ${codes.length}`
      return yield* new ProtocolError({ reason: new MessageDecodeError({ detail }) })
    }
    let next = 0
    return encoded.map(Result.flatMap(({ channel }) => broadcastResult(channel, codes[next++]!)))
  }),

  sendTo: (sid: string, event: Named, data?: unknown) =>
    sid === ""
      ? Effect.fail(new BrowserNotFoundError({ sid }))
      : inRoom(FromClient.SendTo({ sid, event: "", data: "" }), () =>
        Effect.flatMap(
          Effect.fromResult(Result.mapError(encodeEvent(event, data), toProtocolError)),
          (encoded) =>
            execute(
              FromClient.SendTo({ sid, ...encoded }),
              expecting(455)
            )
        )),

  sendToUser: (uid: string, event: Named, data?: unknown) =>
    uid === ""
      ? Effect.succeed(0)
      : inRoom(FromClient.SendToUser({ uid, event: "", data: "" }), () =>
        Effect.flatMap(
          Effect.fromResult(Result.mapError(encodeEvent(event, data), toProtocolError)),
          (encoded) => Effect.map(query(FromClient.SendToUser({ uid, ...encoded })), ({ sent }) => sent)
        ))
})

// Another name has no Schema on this channel: its data would be sent unchecked.
const declaredOn = (channel: Channel.Any, event: Named): Result.Result<Event.Any, BadRequestError> => {
  if (typeof event !== "string") return Result.succeed(event)
  return Object.hasOwn(channel.events, event)
    ? Result.succeed(channel.events[event]!)
    : Result.fail(
      new BadRequestError({ detail: `the channel ${channel.name} has no event ${JSON.stringify(event.slice(0, 100))}` })
    )
}

const refusal = (error: ChannelNotFoundError | BadRequestError | MessageEncodeError) =>
  error._tag === "ChannelNotFoundError" ? error : toProtocolError(error)

const emptyBroadcast = FromClient.Broadcast({ channel: "", event: "", data: "" })

const notFound = expecting(454)
