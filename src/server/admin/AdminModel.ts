/**
 * What `AdminApi` answers with, as Schemas.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

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
  after: Schema.optionalKey(Count),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: limits.most })))
}

/**
 * A part of a list, and where it continues, absent at its end.
 *
 * @since 0.1.0
 */
export const part = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), next: Schema.optionalKey(Count) })

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
  browsers: Count,
  workers: Count,
  channels: Count,
  subscriptions: Count,
  queued: Count,
  unacked: Count,
  deadLetters: Count
})

/**
 * The broker as a whole: its version, for how many seconds it has been up, what it has now, and what was counted in its vhosts
 * since they were added or restored.
 *
 * @since 0.1.0
 */
export const Status = Schema.Struct({
  version: Schema.String,
  uptime: Schema.Number,
  vhosts: Count,
  counts: Counts,
  totals: Schema.Struct({
    broadcasts: Count,
    deliveries: Count,
    events: Count,
    acknowledged: Count
  })
})

/**
 * A living node of a cluster: its incarnation, with which the `sid`s of its browsers begin, and its name; in how many seconds its lease
 * ends unless it is renewed; when it has started, in milliseconds since 1970; and what it has to do, by name.
 *
 * @since 0.1.0
 */
export const Node = Schema.Struct({
  node: Schema.String,
  name: Schema.String,
  leaseSeconds: Schema.Number,
  version: Schema.String,
  startedAt: Count,
  load: Schema.Record(Schema.String, Schema.Number)
})

/**
 * The living nodes of a cluster, and the incarnation of the one that is asked; both are missing for a broker that is alone.
 *
 * @since 0.1.0
 */
export const Nodes = Schema.Struct({ nodes: Schema.Array(Node), self: Schema.optionalKey(Schema.String) })

/**
 * A distribution of durations: `counts` says how many took at most as many seconds as `bounds` has in the same place, and its last
 * number how many there were.
 *
 * @since 0.1.0
 */
export const Lag = Schema.Struct({ bounds: Schema.Array(Schema.Number), counts: Schema.Array(Count) })

/**
 * What a dashboard shows of the broker as a whole, made of numbers that the broker has anyway: what `Status` has, and
 *
 * - `at`: when it was read, in milliseconds by a clock of the broker that never goes back; rates are made of two of them;
 * - `oldestSeconds`: for how long the oldest event has been queued, 0 if none is;
 * - `blocked`: browsers that do not read now, and the bytes that are queued for them;
 * - `refused`: since the process was started, how many browsers were refused, messages of browsers rejected, and events refused;
 *   `slow` and `disconnected` are browsers that were disconnected because they did not read, or for another reason;
 * - `delaySeconds`: the longest delay of the event loop in the last one to two minutes, and `memory`, the bytes of the process;
 * - `lag`: from a broadcast to the socket of a subscriber, and from an event's trigger to its ack.
 *
 * @since 0.1.0
 */
export const Overview = Schema.Struct({
  ...Status.fields,
  at: Schema.Number,
  oldestSeconds: Schema.Number,
  blocked: Schema.Struct({ browsers: Count, bytes: Count }),
  refused: Schema.Struct({ browsers: Count, messages: Count, events: Count, slow: Count, disconnected: Count }),
  delaySeconds: Schema.Number,
  memory: Count,
  lag: Schema.Struct({ broadcasts: Lag, events: Lag })
})

/**
 * A vhost in a list.
 *
 * @since 0.1.0
 */
export const VhostSummary = Schema.Struct({ path: Schema.String, counts: Counts })

/**
 * A vhost with its current access token, which is a secret, and how many access tokens it has.
 *
 * @since 0.1.0
 */
export const Vhost = Schema.Struct({
  path: Schema.String,
  token: Schema.String,
  tokens: Count,
  counts: Counts
})

/**
 * The access tokens of a vhost, the current one first. They are secrets.
 *
 * @since 0.1.0
 */
export const Tokens = Schema.Struct({ tokens: Schema.Array(Schema.String) })

/**
 * An access token to add, of 40 letters, digits or `_`; default a random one.
 *
 * @since 0.1.0
 */
export const NewToken = Schema.Struct({ token: Schema.optionalKey(Schema.String) })

/**
 * An access token.
 *
 * @since 0.1.0
 */
export const Token = Schema.Struct({ token: Schema.String })

const Text = Schema.optionalKey(Schema.String)
const Amount = Schema.optionalKey(Schema.Union([Schema.Number, Schema.String]))
const Truth = Schema.optionalKey(Schema.Boolean)

/**
 * A rule of channels, as an element of `KOSMONAUT_CHANNEL_RULES`: a duration is a text as `10s`, a size a number of bytes or a
 * text as `4MiB`, a number that may be without a limit is `"unlimited"` then. What is absent has its default.
 *
 * @since 0.1.0
 */
export const ChannelRule = Schema.Struct({
  pattern: Schema.String,
  openOnDemand: Truth,
  history: Schema.optionalKey(
    Schema.Union([Schema.Boolean, Schema.Struct({ count: Amount, size: Amount, age: Text })])
  ),
  browsersBroadcast: Truth,
  presence: Truth,
  grace: Text,
  maxSubscribers: Amount,
  latest: Truth
})

/**
 * The rules of the channels of a vhost, without those of the broker, which come after them.
 *
 * @since 0.1.0
 */
export const ChannelRules = Schema.Struct({ rules: Schema.Array(ChannelRule) })

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
  subscribers: Count
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
 * has; where it connects from, of IPv6 the /64 network, for how many seconds it has been connected, and how many bytes are queued
 * for it. The last three are absent for a browser of a test, which has no socket.
 *
 * @since 0.1.0
 */
export const Browser = Schema.Struct({
  sid: Schema.String,
  uid: Schema.optionalKey(Schema.String),
  version: Count,
  subscriptions: Count,
  address: Schema.optionalKey(Schema.String),
  seconds: Schema.optionalKey(Schema.Number),
  queuedBytes: Schema.optionalKey(Count)
})

/**
 * The browsers of all vhosts for which most is queued, that with the most first, each with the path of its vhost.
 *
 * @since 0.1.0
 */
export const SlowBrowsers = Schema.Struct({
  items: Schema.Array(Schema.Struct({ vhost: Schema.String, ...Browser.fields }))
})

/**
 * How many browsers were disconnected.
 *
 * @since 0.1.0
 */
export const Disconnected = Schema.Struct({ disconnected: Count })

/**
 * A connected worker: for how many seconds, how many events it holds unacked, how many it wants at most (absent for one that does
 * not acknowledge), and whether it takes requests and lifecycle events.
 *
 * @since 0.1.0
 */
export const Worker = Schema.Struct({
  id: Schema.String,
  seconds: Schema.Number,
  unacked: Count,
  prefetch: Schema.optionalKey(Count),
  requests: Schema.Boolean,
  lifecycle: Schema.Boolean
})

/**
 * The events of one kind: how many are queued and unacked, and for how many seconds the next one to deliver has been queued.
 *
 * @since 0.1.0
 */
export const Lane = Schema.Struct({
  queued: Count,
  unacked: Count,
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
  size: Count,
  attempts: Count,
  reason: Schema.String,
  failedAt: Count
})

/**
 * How many dead letters are events again, and how many are left.
 *
 * @since 0.1.0
 */
export const Replayed = Schema.Struct({ replayed: Count, left: Count })

/**
 * How many dead letters were deleted.
 *
 * @since 0.1.0
 */
export const Discarded = Schema.Struct({ discarded: Count })

/**
 * Of a channel: first, and every ten seconds, that the connection is alive; each message as browsers receive it; and at the end why
 * it ends.
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
    count: Count
  }))
})
