/**
 * What `AdminApi` answers with, as Schemas.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/**
 * How many items a part of a list has unless `limit` says otherwise, and at most.
 *
 * @since 0.1.0
 */
export const limits = { standard: 100, most: 1000 }

/**
 * Which part of a list: what comes after `after`, the `next` of the part before (default the first part), and at most `limit` items
 * (default 100, at most 1000).
 *
 * @since 0.1.0
 */
export const Page = {
  after: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: limits.most })))
}

/**
 * A part of a list, and where it continues, absent at its end.
 *
 * @since 0.1.0
 */
export const part = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), next: Schema.optionalKey(Schema.Int) })

/**
 * The path of a vhost; in a URL without its first slash.
 *
 * @since 0.1.0
 */
export const VhostPath = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({
      decode: (text) => text.startsWith("/") ? text : `/${text}`,
      encode: (path) => path.replace(/^\//, "")
    })
  )
)

/**
 * How many of each there are now.
 *
 * @since 0.1.0
 */
export const Counts = Schema.Struct({
  browsers: Schema.Int,
  workers: Schema.Int,
  channels: Schema.Int,
  subscriptions: Schema.Int,
  queued: Schema.Int,
  unacked: Schema.Int,
  deadLetters: Schema.Int
})

/**
 * The broker as a whole: for how many seconds it has been up, what it has now, and what was counted in its vhosts since they
 * were added or restored.
 *
 * @since 0.1.0
 */
export const Status = Schema.Struct({
  uptime: Schema.Number,
  vhosts: Schema.Int,
  counts: Counts,
  totals: Schema.Struct({
    broadcasts: Schema.Int,
    deliveries: Schema.Int,
    events: Schema.Int,
    acknowledged: Schema.Int
  })
})

/**
 * A vhost in a list.
 *
 * @since 0.1.0
 */
export const VhostSummary = Schema.Struct({ path: Schema.String, counts: Counts })

/**
 * A vhost with its access token, which is a secret.
 *
 * @since 0.1.0
 */
export const Vhost = Schema.Struct({ path: Schema.String, token: Schema.String, counts: Counts })

/**
 * A vhost to add. `token` has 40 letters, digits or `_`, default a random one; `channels` are open from the start.
 *
 * @since 0.1.0
 */
export const NewVhost = Schema.Struct({
  path: Schema.String,
  token: Schema.optionalKey(Schema.String),
  channels: Schema.optionalKey(Schema.Array(Schema.String))
})

/**
 * An open channel.
 *
 * @since 0.1.0
 */
export const Channel = Schema.Struct({
  name: Schema.String,
  kind: Schema.Literals(["normal", "private", "presence"]),
  subscribers: Schema.Int
})

/**
 * A subscriber of a channel: its connection, its user on private and presence channels, and its data as JSON.
 *
 * @since 0.1.0
 */
export const Subscriber = Schema.Struct({
  sid: Schema.String,
  uid: Schema.optionalKey(Schema.String),
  data: Schema.Json
})

/**
 * A connected browser: the user that it has authenticated as, which version of the protocol it speaks, how many subscriptions it
 * has.
 *
 * @since 0.1.0
 */
export const Browser = Schema.Struct({
  sid: Schema.String,
  uid: Schema.optionalKey(Schema.String),
  version: Schema.Int,
  subscriptions: Schema.Int
})

/**
 * How many browsers were disconnected.
 *
 * @since 0.1.0
 */
export const Disconnected = Schema.Struct({ disconnected: Schema.Int })

/**
 * A connected worker: for how many seconds, how many events it holds unacked, how many it wants at most (absent for one that does
 * not acknowledge), and whether it takes requests and lifecycle events.
 *
 * @since 0.1.0
 */
export const Worker = Schema.Struct({
  id: Schema.String,
  seconds: Schema.Number,
  unacked: Schema.Int,
  prefetch: Schema.optionalKey(Schema.Int),
  requests: Schema.Boolean,
  lifecycle: Schema.Boolean
})

/**
 * The events of one kind: how many are queued and unacked, and for how many seconds the next one to deliver has been queued.
 *
 * @since 0.1.0
 */
export const Lane = Schema.Struct({
  queued: Schema.Int,
  unacked: Schema.Int,
  oldestSeconds: Schema.optionalKey(Schema.Number)
})

/**
 * The queue of a vhost.
 *
 * @since 0.1.0
 */
export const Queue = Schema.Struct({ events: Lane, requests: Lane, lifecycle: Lane })

/**
 * A dead letter. `data` is absent if it has more than 16 KiB; `failedAt` is in milliseconds since 1970.
 *
 * @since 0.1.0
 */
export const DeadLetter = Schema.Struct({
  id: Schema.String,
  event: Schema.String,
  data: Schema.optionalKey(Schema.Json),
  size: Schema.Int,
  attempts: Schema.Int,
  reason: Schema.String,
  failedAt: Schema.Int
})

/**
 * How many dead letters are events again, and how many are left.
 *
 * @since 0.1.0
 */
export const Replayed = Schema.Struct({ replayed: Schema.Int, left: Schema.Int })

/**
 * How many dead letters were deleted.
 *
 * @since 0.1.0
 */
export const Discarded = Schema.Struct({ discarded: Schema.Int })

/**
 * Of a channel: first, and every ten seconds, that the connection is alive; each message as browsers receive it; and at the end why
 * there is nothing more.
 *
 * @since 0.1.0
 */
export const ChannelTail = Schema.Union([
  Schema.TaggedStruct("Broadcast", { message: Schema.Json }),
  Schema.TaggedStruct("Alive", {}),
  Schema.TaggedStruct("Ended", { reason: Schema.Literals(["the channel was closed", "you read too slowly"]) })
])

/**
 * What was refused in a second, by metric and reason, and how often. An empty list says that the connection is alive.
 *
 * @since 0.1.0
 */
export const RefusalsTail = Schema.Struct({
  refusals: Schema.Array(Schema.Struct({
    metric: Schema.String,
    reason: Schema.optionalKey(Schema.String),
    count: Schema.Int
  }))
})
