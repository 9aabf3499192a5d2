/**
 * What the broker tells in its answers to the commands that ask for something, as JSON values.
 *
 * Lists come in browsers, so that an answer is never larger than a message may be: `next` is the place to go on from, `null`
 * after the last. (Source: our own; the original knows none of these commands.)
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import * as Json from "./Json.ts"

/**
 * How deeply an answer may be nested: in a list of objects stand data that may be nested as deeply as what is read.
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
 * To `DC`: a channel and how many browsers are on it.
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
 * One who is on a channel and not hidden: the browser, the user on private and presence channels, and what the browser tells
 * the others of itself.
 *
 * @since 0.1.0
 */
export const Subscriber = Schema.Struct({
  sid: Schema.String,
  uid: Schema.optional(Schema.String),
  data: Schema.Record(Schema.String, Schema.Json)
})

/**
 * To `LS`: who is on a channel, in the order of their coming.
 *
 * @since 0.1.0
 */
export const Subscribers = Schema.Struct({ subscribers: Schema.Array(Subscriber), next: Schema.NullOr(Schema.Int) })

/**
 * To `DB`: how many connections were ended.
 *
 * @since 0.1.0
 */
export const Disconnected = Schema.Struct({ disconnected: Schema.Int })

/**
 * One dead letter. `data` are `null` where the letter has no room in an answer otherwise, and then `event` is at most the
 * first 200 characters and a `…`; `size` are the bytes of both as they travel to a worker. `failedAt` is in milliseconds
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
 * To `RL` for all: how many are events again, the oldest, and how many are not for want of room.
 *
 * @since 0.1.0
 */
export const Replayed = Schema.Struct({ replayed: Schema.Int, left: Schema.Int })

/**
 * To `DL` for all: how many there were.
 *
 * @since 0.1.0
 */
export const Discarded = Schema.Struct({ discarded: Schema.Int })
