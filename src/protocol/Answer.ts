/**
 * What the broker tells in its answers to the commands that ask for something, as JSON values.
 *
 * Lists come in pages, so that an answer is never larger than a message may be: `next` is the place to go on from, `null`
 * after the last. (Source: our own; the original knows none of these commands.)
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"

/**
 * To `BA`: a status code for each broadcast, 204 or that of an error.
 *
 * @since 0.1.0
 */
export const Broadcasts = Schema.Array(Schema.Int)

/**
 * To `DC`: a channel and how many pages are on it.
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
 * One who is on a channel and not hidden: the page, the user on private and presence channels, and what the page tells
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
