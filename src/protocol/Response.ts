/**
 * The responses to the commands that have more to return than `OK`, as JSON values.
 *
 * A list is sent in parts, so that no response is larger than a message may be: `next` is the cursor where the list continues,
 * `null` at its end. (Source: our own; the original knows none of these commands.)
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import type { FromClient } from "./Command.ts"
import * as Json from "./Json.ts"

/**
 * How deeply a response may be nested: in its lists are objects whose data may be nested `Json.maxDepth` levels deep.
 *
 * @since 0.1.0
 */
export const maxDepth = Json.maxDepth + 3

/**
 * To `BA`: a status code for each broadcast, 204 or that of an error.
 *
 * @since 0.1.0
 */
export const Broadcasts = Schema.Array(Schema.Int)

/**
 * To `DC`: a channel and its number of subscribers, hidden ones included.
 *
 * @since 0.1.0
 */
export const Channel = Schema.Struct({ name: Schema.String, subscribers: Schema.Int })

/**
 * To `LC`: open channels, in the order of their opening.
 *
 * @since 0.1.0
 */
export const Channels = Schema.Struct({ channels: Schema.Array(Channel), next: Schema.NullOr(Schema.Int) })

/**
 * A subscriber that is not hidden: the browser, the user on private and presence channels, what a backend has said of the user
 * in the token, and what the browser has said of itself. It is `away` if its connection has ended and it may come back.
 *
 * @since 0.1.0
 */
export const Subscriber = Schema.Struct({
  sid: Schema.String,
  uid: Schema.optional(Schema.String),
  info: Schema.optional(Schema.Record(Schema.String, Schema.Json)),
  data: Schema.Record(Schema.String, Schema.Json),
  away: Schema.optional(Schema.Boolean)
})

/**
 * To `LS`: the subscribers of a channel, in the order of their subscriptions.
 *
 * @since 0.1.0
 */
export const Subscribers = Schema.Struct({ subscribers: Schema.Array(Subscriber), next: Schema.NullOr(Schema.Int) })

/**
 * To `LH`: a part of the broadcasts that a channel retains, each as browsers have received it and with its position. `next` is
 * the position of the last one if there are later ones.
 *
 * @since 0.1.0
 */
export const History = Schema.Struct({
  broadcasts: Schema.Array(Schema.Struct({
    position: Schema.Int,
    message: Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Json))
  })),
  next: Schema.NullOr(Schema.Int)
})

/**
 * To `DB` and `DX`: how many browsers were disconnected.
 *
 * @since 0.1.0
 */
export const Disconnected = Schema.Struct({ disconnected: Schema.Int })

/**
 * To `TU`: to how many browsers it was sent.
 *
 * @since 0.1.0
 */
export const SentToUser = Schema.Struct({ sent: Schema.Int })

/**
 * To `SU`: how many browsers were not subscribed before.
 *
 * @since 0.1.0
 */
export const SubscribedUser = Schema.Struct({ subscribed: Schema.Int })

/**
 * To `UU`: how many browsers were subscribed before.
 *
 * @since 0.1.0
 */
export const UnsubscribedUser = Schema.Struct({ unsubscribed: Schema.Int })

/**
 * One dead letter. If a dead letter is too large for a response, its `data` are `null` and its `event` is cut to 200
 * characters and a `…`; `size` is the number of bytes of both as they are sent to a worker. `failedAt` is in milliseconds
 * since 1970.
 *
 * @since 0.1.0
 */
export const DeadLetter = Schema.Struct({
  id: Schema.String,
  event: Schema.String,
  data: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
  size: Schema.Int,
  origin: Schema.Struct({
    sid: Schema.optional(Schema.String),
    uid: Schema.optional(Schema.String),
    channel: Schema.optional(Schema.String)
  }),
  attempts: Schema.Int,
  reason: Schema.String,
  failedAt: Schema.DateTimeUtcFromMillis
})

/**
 * To `LD`: dead letters, the oldest first.
 *
 * @since 0.1.0
 */
export const DeadLetters = Schema.Struct({ deadLetters: Schema.Array(DeadLetter), next: Schema.NullOr(Schema.Int) })

/**
 * To `RL` for all: how many were replayed, the oldest first, and how many were not, because the queue is full.
 *
 * @since 0.1.0
 */
export const Replayed = Schema.Struct({ replayed: Schema.Int, left: Schema.Int })

/**
 * To `DL` for all: how many were discarded.
 *
 * @since 0.1.0
 */
export const Discarded = Schema.Struct({ discarded: Schema.Int })

/**
 * To `RQ`: what the handler returned, or its declared error.
 *
 * @since 0.1.0
 */
export const Requested = Schema.Union([Schema.Struct({ data: Schema.Json }), Schema.Struct({ error: Schema.Json })])

/**
 * The Schema of the response to each command that has more to return than `OK` and is no token.
 *
 * @since 0.1.0
 */
export const schemas = {
  BroadcastAll: Broadcasts,
  ListChannels: Channels,
  DescribeChannel: Channel,
  ListSubscribers: Subscribers,
  ListHistory: History,
  Disconnect: Disconnected,
  DisconnectAndRevoke: Disconnected,
  SendToUser: SentToUser,
  SubscribeUser: SubscribedUser,
  UnsubscribeUser: UnsubscribedUser,
  ListDeadLetters: DeadLetters,
  ReplayDeadLetters: Replayed,
  DiscardDeadLetters: Discarded,
  Request: Requested
} satisfies { readonly [Tag in FromClient["_tag"]]?: Schema.Constraint }

/**
 * The response to a command, by its tag.
 *
 * @since 0.1.0
 */
export type To<Tag extends keyof typeof schemas> = (typeof schemas)[Tag]["Type"]

/**
 * The text of a response to a request, from the text of its JSON.
 *
 * @since 0.1.0
 */
export const requested = (outcome: "ok" | "error", json: string): string =>
  `{"${outcome === "ok" ? "data" : "error"}":${json}}`
