/**
 * Live tails: what happens from now on, as streams. What waits for a reader is bounded; one that reads too slowly is told so, and
 * its stream ends.
 */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Json from "../../../protocol/Json.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import type { FindError } from "../../engine/Channels.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import type * as Model from "../AdminModel.ts"

/** How many bytes of messages may wait for a reader, with an overhead of 1 KiB each. */
const tailSize = 4 * 1_048_576
const overhead = 1024

/** How often a connection shows that it is alive. */
const interval = "10 seconds"

type ChannelTail = typeof Model.ChannelTail.Type
type RefusalsTail = typeof Model.RefusalsTail.Type

type Ended = Extract<ChannelTail, { readonly _tag: "Ended" }>

/** The broadcasts on a channel. */
export const ofChannel = (
  vhost: Vhost,
  channel: string
): Effect.Effect<Stream.Stream<ChannelTail>, FindError> =>
  // Fails before there is a stream.
  Effect.as(vhost.channels.describe(channel), Stream.unwrap(watch(vhost, channel)))

const watch = Effect.fnUntraced(function*({ channels, removed }: Vhost, channel: string) {
  const queue = yield* Queue.unbounded<string | Ended, Cause.Done>()
  let size = 0
  const end = (reason: Ended["reason"]) => {
    Queue.offerUnsafe(queue, { _tag: "Ended", reason })
    Queue.endUnsafe(queue)
  }
  const close = () => end("the channel was closed")
  const onMessage = (message: string) => {
    size += costOf(message)
    if (size > tailSize) end("you read too slowly")
    else Queue.offerUnsafe(queue, message)
  }
  // It may have been closed since the response has begun.
  yield* Effect.catch(channels.tap(channel, { onMessage, onClose: close }), () => Effect.sync(close))
  yield* Effect.forkScoped(Effect.andThen(removed, Effect.sync(close)))
  return Stream.merge(
    Stream.map(Stream.fromQueue(queue), (item): ChannelTail => {
      if (typeof item !== "string") return item
      size -= costOf(item)
      return { _tag: "Broadcast", message: parse(item) }
    }),
    Stream.as(Stream.tick(interval), { _tag: "Alive" } as const),
    { haltStrategy: "left" }
  )
})

const costOf = (message: string): number => message.length + overhead

// What the broker has written itself, around data of as many levels as there may be.
const parse = (message: string): Schema.Json =>
  Result.getOrElse(Json.parse(message, Json.maxDepth + 8), () => null) as Schema.Json

/** The metrics of what is refused, and which of their outcomes are refusals. */
const refusing: ReadonlyArray<readonly [metric: { readonly id: string }, outcomes?: ReadonlyArray<string>]> = [
  [BrokerMetrics.refusedBrowsers],
  [BrokerMetrics.rejectedMessages],
  [BrokerMetrics.disconnectedBrowsers],
  [BrokerMetrics.slowBrowsers],
  [BrokerMetrics.events, ["refused", "dropped"]],
  [BrokerMetrics.handledRequests, ["refused", "no_worker"]]
]

/** What was refused in each second in which something was, and each ten seconds that the connection is alive. */
export const ofRefusals: Stream.Stream<RefusalsTail> = Stream.tick("1 second").pipe(
  Stream.mapEffect(() => Effect.map(Metric.snapshot, countsOf)),
  Stream.mapAccum((): Counted | undefined => undefined, (before, counts) => [counts, [changesOf(before, counts)]]),
  Stream.zipWithIndex,
  Stream.filter(([{ refusals }, index]) => refusals.length > 0 || index % 10 === 0),
  Stream.map(([tail]) => tail)
)

/** Counts by metric and reason. */
type Counted = ReadonlyMap<string, RefusalsTail["refusals"][number]>

const countsOf = (snapshots: ReadonlyArray<Metric.Metric.Snapshot>): Counted =>
  new Map(snapshots.flatMap((snapshot) => {
    const found = refusing.find(([{ id }]) => id === snapshot.id)
    if (found === undefined || snapshot.type !== "Counter") return []
    const { outcome, reason = outcome } = snapshot.attributes ?? {}
    if (outcome !== undefined && found[1]?.includes(outcome) !== true) return []
    const count = Number(snapshot.state.count)
    return [[`${snapshot.id} ${reason}`, { metric: snapshot.id, ...reason !== undefined && { reason }, count }]]
  }))

// The first look only says what was there before.
const changesOf = (before: Counted | undefined, counts: Counted): RefusalsTail => ({
  refusals: before === undefined ? [] : Array.from(counts, ([key, counted]) => ({
    ...counted,
    count: counted.count - (before.get(key)?.count ?? 0)
  })).filter(({ count }) => count > 0)
})
