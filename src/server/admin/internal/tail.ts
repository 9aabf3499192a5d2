/**
 * Live tails: what happens from now on, as streams. What waits for a reader is bounded, and so is what waits for all of them. One that
 * reads too slowly is told so, and its stream ends.
 */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Json from "../../../protocol/Json.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import type { FindError } from "../../engine/Channels.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import type * as Model from "../AdminModel.ts"

/** How many bytes of messages may wait for a reader, with an overhead of 1 KiB each. */
const tailSize = 4 * 1_048_576
const overhead = 1024

/** How many bytes may wait for all readers. Beyond it the one for which most waits loses that, and its stream ends. */
const totalSize = 32 * 1_048_576

/** How often a connection shows that it is alive. */
const interval = "10 seconds"

type ChannelTail = typeof Model.ChannelTail.Type
type RefusalsTail = typeof Model.RefusalsTail.Type

type Ended = Extract<ChannelTail, { readonly _tag: "Ended" }>

/** The broadcasts on a channel. */
export type ChannelTails = (
  vhost: Vhost,
  channel: string
) => Effect.Effect<Stream.Stream<ChannelTail>, FindError>

/** Makes those of one broker. */
export const make = (): ChannelTails => {
  const readers = makeReaders()
  // Fails before there is a stream.
  return (vhost, channel) => Effect.as(vhost.channels.describe(channel), Stream.unwrap(watch(readers, vhost, channel)))
}

const watch = Effect.fnUntraced(function*(readers: Readers, { channels, removed }: Vhost, channel: string) {
  const reader = yield* readers.add
  const close = () => end(reader, "the channel was closed")
  const onMessage = (message: string) => readers.give(reader, message)
  // It may have been closed since the response has begun.
  yield* Effect.catch(channels.tap(channel, { onMessage, onClose: close }), () => Effect.sync(close))
  yield* Effect.forkScoped(Effect.andThen(removed, Effect.sync(close)))
  // What waits for its reader will show it.
  const isAlive = Effect.sync(() => reader.size === 0 && Queue.offerUnsafe(reader.queue, { _tag: "Alive" }))
  yield* Effect.forkScoped(Effect.repeat(isAlive, Schedule.spaced(interval)))
  // One at a time: what was taken does not count any more.
  return Stream.map(Stream.fromEffectRepeat(Queue.take(reader.queue)), (item): ChannelTail => {
    if (typeof item !== "string") return item
    readers.take(reader, item)
    return { _tag: "Broadcast", message: parse(item) }
  })
})

/** The text of a broadcast, or another item. */
type Item = string | Exclude<ChannelTail, { readonly _tag: "Broadcast" }>

interface Reader {
  readonly queue: Queue.Queue<Item, Cause.Done>
  /** What waits for it, in bytes. */
  size: number
}

const end = ({ queue }: Reader, reason: Ended["reason"]): void => {
  Queue.offerUnsafe(queue, { _tag: "Ended", reason })
  Queue.endUnsafe(queue)
}

interface Readers {
  /** Adds one until the scope ends. */
  readonly add: Effect.Effect<Reader, never, Scope.Scope>
  readonly give: (reader: Reader, message: string) => void
  readonly take: (reader: Reader, message: string) => void
}

const makeReaders = (): Readers => {
  const readers = new Set<Reader>()
  let total = 0
  const grow = (reader: Reader, bytes: number) => {
    reader.size += bytes
    total += bytes
  }
  const take = (reader: Reader, message: string) => grow(reader, -costOf(message))
  const endSlowest = () => {
    const [first, ...others] = readers
    const slowest = others.reduce((slowest, one) => one.size > slowest.size ? one : slowest, first!)
    for (const item of Effect.runSync(Queue.clear(slowest.queue))) if (typeof item === "string") take(slowest, item)
    end(slowest, "you read too slowly")
  }
  return {
    add: Effect.acquireRelease(
      Effect.map(Queue.unbounded<Item, Cause.Done>(), (queue) => {
        const reader: Reader = { queue, size: 0 }
        readers.add(reader)
        return reader
      }),
      (reader) =>
        Effect.sync(() => {
          readers.delete(reader)
          total -= reader.size
        })
    ),
    give: (reader, message) => {
      const cost = costOf(message)
      if (reader.size + cost > tailSize) return end(reader, "you read too slowly")
      if (Queue.offerUnsafe(reader.queue, message)) grow(reader, cost)
      while (total > totalSize) endSlowest()
    },
    take
  }
}

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
