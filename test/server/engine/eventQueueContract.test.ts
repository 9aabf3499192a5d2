/**
 * What every event queue does: that of a single broker, and those of two nodes that share one in Redis.
 */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import {
  type Capacity,
  type Enqueue,
  type EventQueue,
  type Lane,
  NoWorkerError,
  type Options,
  Outcome,
  type Queued,
  QueueFullError
} from "../../../src/server/engine/EventQueue.ts"
import * as LocalQueue from "../../../src/server/engine/internal/localQueue.ts"
import * as SharedDeadLetters from "../../../src/server/engine/internal/sharedDeadLetters.ts"
import * as SharedQueue from "../../../src/server/engine/internal/sharedQueue.ts"
import * as Timeline from "../../../src/server/engine/internal/timeline.ts"
import { Call } from "../../../src/server/engine/SharedQueue.ts"
import * as RedisQueue from "../../harness/redisQueue.ts"
import { isInstalled } from "../../harness/redisServer.ts"

/** A queue under test, of one node if there are several. */
interface Made {
  readonly queue: EventQueue
  readonly deadLetters: DeadLetters.DeadLetters
  /** Ends when what was asked of the queue so far is done. */
  readonly settled: Effect.Effect<void>
  /** Time has passed. */
  readonly tick: () => void
}

type Given = Pick<
  Options,
  | "queueCapacity"
  | "queueSize"
  | "maxDeliveries"
  | "redeliveryBackoff"
  | "lifecycleRetention"
  | "deliver"
  | "respond"
  | "wake"
>

/** Makes queues that are one: the second is that of another node, if there are several. */
type Makes = (first: Given, second: Given) => Effect.Effect<readonly [Made, Made], never, Scope.Scope>

const makeLocal: Makes = Effect.fnUntraced(function*(given) {
  const clock = yield* Clock.Clock
  const deadLetters = DeadLetters.make({ deadLetterCapacity: 10, deadLetterSize: 10_000, clock })
  const timeline = Timeline.make(clock, 500)
  const queue = LocalQueue.make({ ...given, deadLetters, clock, timeline })
  const made = { queue, deadLetters, settled: Effect.void, tick: timeline.tick }
  return [made, made]
})

const makeShared: Makes = Effect.fnUntraced(function*(first, second) {
  const clock = yield* Clock.Clock
  const redis = yield* Effect.orDie(RedisQueue.make)
  const make = (given: Given) =>
    Effect.gen(function*() {
      const { queues } = yield* Effect.orDie(redis.node(() => clock.currentTimeMillisUnsafe()))
      yield* Effect.forkScoped(queues.listen)
      const shared = queues.queueOf("/test", { ...given, deadLetterCapacity: 10, deadLetterSize: 10_000 })
      const queue = SharedQueue.make(shared, { ...given, timeline: Timeline.make(clock, 500) })
      yield* Effect.forkScoped(queue.run)
      return {
        queue,
        ...SharedDeadLetters.make(shared, queue),
        tick: () => {},
        // In the turn of this call is all that was asked before.
        settled: Effect.orDie(Effect.asVoid(queue.call(Call.Discard({ id: "none" }))))
      }
    })
  return [yield* make(first), yield* make(second)]
})

/** A node that records what it has delivered and responded. `credits` are used up by deliveries. */
const recorder = (options: Partial<Given> = {}) => {
  const delivered: Array<Queued> = []
  const responses: Array<unknown> = []
  const none = (): Capacity => ({ workers: 0, credits: 0, idle: 0 })
  const capacity = { events: none(), requests: none(), lifecycle: none() }
  const given: Given = {
    queueCapacity: 3,
    queueSize: 10_000,
    maxDeliveries: 2,
    redeliveryBackoff: Duration.millis(100),
    lifecycleRetention: Duration.seconds(10),
    deliver: (event) => {
      delivered.push(event)
      capacity[event.lane].credits--
      if (event.lane !== "events") capacity.events.credits--
    },
    respond: (replyTo, response) => void responses.push([replyTo, response]),
    ...options
  }
  return { given, delivered, responses, capacity }
}

const usedBy = (
  { queue, settled, ...made }: Made,
  { capacity, delivered, responses }: ReturnType<typeof recorder>
) => ({
  ...made,
  queue,
  responses,
  grant: (lane: Lane, credits: number, workers = 1) =>
    Effect.andThen(
      Effect.sync(() => {
        Object.assign(capacity[lane], { workers, credits, idle: workers })
        // Whoever takes anything takes events.
        capacity.events.credits = Math.max(capacity.events.credits, lane === "events" ? credits : 0)
        queue.grant(capacity)
      }),
      settled
    ),
  settle: (events: ReadonlyArray<Queued>, outcome: Outcome) =>
    Effect.andThen(Effect.sync(() => queue.settle(events, outcome)), settled),
  requeueDue: Effect.andThen(Effect.sync(queue.requeueDue), settled),
  settled,
  delivered: () => delivered.splice(0),
  texts: () => delivered.splice(0).map(({ json }) => json)
})

const enqueue = (queue: EventQueue, json: string, more?: Partial<Enqueue>) =>
  queue.enqueue({ lane: "events", json, ...more })

const kinds: ReadonlyArray<readonly [string, Makes]> = [
  ["of a single broker", makeLocal],
  ...isInstalled ? [["of several nodes, in Redis", makeShared] as const] : []
]
if (!isInstalled) process.stderr.write(`Skipped the event queue in Redis: redis-server was not found on the PATH.\n`)

describe.each(kinds)("the event queue %s", (_, makes) => {
  const makeTwo = (options?: Partial<Given>) =>
    Effect.gen(function*() {
      const [first, second] = [recorder(options), recorder(options)]
      const [one, two] = yield* makes(first.given, second.given)
      return [usedBy(one, first), usedBy(two, one === two ? first : second)] as const
    })
  const make = (options?: Partial<Given>) => Effect.map(makeTwo(options), ([one]) => one)

  it.effect("delivers in order over all lanes", () =>
    Effect.gen(function*() {
      const { grant, queue, texts } = yield* make({ queueCapacity: 10 })
      yield* grant("requests", 0)
      yield* grant("lifecycle", 0)
      for (const [json, lane] of [["a", "events"], ["b", "lifecycle"], ["c", "requests"], ["d", "events"]] as const) {
        expect(yield* enqueue(queue, json, { lane })).toBe("Queued")
      }
      yield* grant("events", 1)
      expect(texts()).toEqual(["a"])
      yield* grant("events", 9)
      expect(texts()).toEqual(["d"])
      yield* grant("requests", 5)
      expect(texts()).toEqual(["c"])
      yield* grant("lifecycle", 5)
      expect(texts()).toEqual(["b"])
    }))

  it.effect("rejects requests and lifecycle events that no worker takes, and events beyond the limit", () =>
    Effect.gen(function*() {
      const [{ grant, queue }, other] = yield* makeTwo()
      for (const lane of ["requests", "lifecycle"] as const) {
        expect(yield* Effect.flip(enqueue(queue, "a", { lane }))).toEqual(new NoWorkerError({ lane }))
      }
      for (const json of ["a", "b", "c"]) yield* enqueue(queue, json)
      yield* grant("events", 2)
      expect(yield* Effect.flip(enqueue(queue, "d"))).toEqual(new QueueFullError({ queued: 1, unacked: 2 }))
      expect(yield* Effect.flip(enqueue(other.queue, "d"))).toEqual(new QueueFullError({ queued: 1, unacked: 2 }))
      expect(queue.counters).toMatchObject({ accepted: 3, queued: 1 })
      // The other lanes have limits of their own. A worker of any node is enough.
      yield* other.grant("requests", 0)
      expect(yield* enqueue(queue, "e", { lane: "requests" })).toBe("Queued")
    }))

  it.effect("delays an event, which counts towards the limits, and returns when the next is due", () =>
    Effect.gen(function*() {
      const { grant, queue, requeueDue, texts } = yield* make()
      yield* grant("events", 10)
      yield* enqueue(queue, "late", { delay: Duration.seconds(2) })
      yield* enqueue(queue, "later", { delay: Duration.seconds(3) })
      yield* enqueue(queue, "soon", { delay: Duration.seconds(1) })
      expect(queue.nextDue()).toBe(1000)
      yield* Effect.flip(enqueue(queue, "full", { delay: Duration.seconds(1) }))
      // One that is delivered at once needs no room.
      yield* enqueue(queue, "now")
      yield* requeueDue
      expect(texts()).toEqual(["now"])
      yield* TestClock.adjust("1 second")
      yield* requeueDue
      expect([texts(), queue.nextDue()]).toEqual([["soon"], 2000])
      yield* TestClock.adjust("2 seconds")
      yield* requeueDue
      expect([texts(), queue.nextDue()]).toEqual([["late", "later"], undefined])
    }))

  it.effect("counts a dedupe key for the size of the queue", () =>
    Effect.gen(function*() {
      const { queue } = yield* make({ queueCapacity: Infinity, queueSize: 1000 })
      const key = (n: number) => ({ dedupeKey: `${n}${"k".repeat(399)}` })
      for (let n = 0; n < 2; n++) expect(yield* enqueue(queue, "a", key(n))).toBe("Queued")
      expect(yield* Effect.flip(enqueue(queue, "a", key(2)))).toBeInstanceOf(QueueFullError)
    }))

  it.effect("accepts one event for a dedupe key until that event has ended", () =>
    Effect.gen(function*() {
      const [{ delivered, grant, queue, settle }, other] = yield* makeTwo()
      const twice = { dedupeKey: "k" }
      expect(yield* enqueue(queue, "a", twice)).toBe("Queued")
      expect(yield* enqueue(other.queue, "b", twice)).toBe("Duplicate")
      yield* grant("events", 1)
      const [event] = delivered()
      expect(event).toMatchObject({ json: "a", dedupeKey: "k", attempts: 1 })
      expect(yield* enqueue(queue, "b", twice)).toBe("Duplicate")
      yield* settle([event!], Outcome.Acked())
      expect(yield* enqueue(queue, "b", twice)).toBe("Queued")
    }))

  it.effect("cancels an event that is queued or delayed, and not one that was delivered", () =>
    Effect.gen(function*() {
      const { grant, queue, responses, texts } = yield* make({ queueCapacity: 10 })
      yield* grant("requests", 0)
      const lane = "requests"
      const more = (json: string) => ({ lane, dedupeKey: json, deadline: 60_000, replyTo: json } as const)
      for (const json of ["a", "b", "c"]) yield* enqueue(queue, json, more(json))
      const cancel = (key: string) => queue.cancel(lane, key)
      expect([
        yield* cancel("b"),
        yield* cancel("b"),
        yield* cancel("x"),
        yield* queue.cancel("events", "a")
      ]).toEqual([true, false, false, false])
      yield* enqueue(queue, "d", { ...more("d"), delay: Duration.seconds(1) })
      expect(yield* cancel("d")).toBe(true)
      expect(responses).toEqual([["b", { _tag: "Cancelled" }], ["d", { _tag: "Cancelled" }]])
      yield* grant("events", 10)
      yield* grant("requests", 10)
      expect(texts()).toEqual(["a", "c"])
      expect(yield* cancel("a")).toBe(false)
      expect(queue.queuedIn(lane)).toBe(0)
    }))

  it.effect("passes a response to the sender of its request", () =>
    Effect.gen(function*() {
      const [sender, worker] = yield* makeTwo()
      yield* worker.grant("events", 1)
      yield* worker.grant("requests", 1)
      yield* enqueue(sender.queue, "a", { lane: "requests", replyTo: { a: "browser" }, deadline: 7 })
      yield* worker.settled
      const [event] = worker.delivered()
      expect(event).toMatchObject({ deadline: 7, attempts: 1 })
      yield* worker.settle([event!], Outcome.Responded({ outcome: "ok", json: "1" }))
      yield* worker.settle([event!], Outcome.Responded({ outcome: "ok", json: "2" }))
      yield* sender.settled
      expect(sender.responses).toEqual([[{ a: "browser" }, { _tag: "Responded", outcome: "ok", json: "1" }]])
    }))

  it.effect("ends requests whose deadline has passed, whoever has them", () =>
    Effect.gen(function*() {
      const [sender, worker] = yield* makeTwo()
      yield* worker.grant("requests", 0)
      const ask = (json: string) => enqueue(sender.queue, json, { lane: "requests", replyTo: json, deadline: 50 })
      yield* ask("a")
      yield* worker.grant("events", 1)
      yield* worker.grant("requests", 1)
      const [event] = worker.delivered()
      yield* ask("b")
      yield* TestClock.adjust("60 millis")
      yield* sender.requeueDue
      expect(sender.responses).toEqual([["a", { _tag: "Expired" }], ["b", { _tag: "Expired" }]])
      yield* worker.settle([event!], Outcome.Responded({ outcome: "ok", json: "1" }))
      yield* worker.grant("requests", 5)
      yield* sender.settled
      expect([sender.responses.length, worker.texts(), sender.queue.queuedIn("requests")]).toEqual([2, [], 0])
    }))

  it.effect("requeues several events at their old positions, and ends no delivery twice", () =>
    Effect.gen(function*() {
      const { deadLetters, delivered, grant, queue, settle, texts } = yield* make({ queueCapacity: 10 })
      for (const json of ["a", "b", "c", "d"]) yield* enqueue(queue, json)
      yield* grant("events", 3)
      const [a, b, c] = delivered()
      for (const events of [[c!, a!], [b!], [a!, b!, c!]]) yield* settle(events, Outcome.Lost({ isCounted: true }))
      expect(yield* deadLetters.list).toEqual([])
      yield* grant("events", 4)
      const again = delivered()
      expect(again.map(({ json }) => json)).toEqual(["a", "b", "c", "d"])
      expect(queue.counters.redelivered).toBe(3)
      yield* settle([again[1]!], Outcome.Lost({ isCounted: true }))
      expect(yield* deadLetters.list).toMatchObject([{
        id: b!.id,
        json: "b",
        attempts: 2,
        reason: expect.stringContaining("2 times")
      }])
      expect(texts()).toEqual([])
    }))

  it.effect("redelivers after a backoff, on whichever node, until it fails for the last time", () =>
    Effect.gen(function*() {
      const [one, two] = yield* makeTwo()
      const nacked = Outcome.Nacked({ reason: "it failed", maxAttempts: 2 })
      yield* enqueue(one.queue, "a", { origin: "{}" })
      yield* one.grant("events", 1)
      yield* one.settle(one.delivered(), nacked)
      yield* two.grant("events", 1)
      expect(two.texts()).toEqual([])
      yield* TestClock.adjust("100 millis")
      yield* two.requeueDue
      const [event] = two.delivered()
      expect(event).toMatchObject({ json: "a", origin: "{}", attempts: 2 })
      yield* two.settle([event!], nacked)
      expect(yield* one.deadLetters.list).toEqual([
        { id: event!.id, json: "a", origin: "{}", attempts: 2, reason: "it failed", failedAt: 100 }
      ])
      yield* one.settled
      expect(one.queue.queuedIn("events")).toBe(0)
    }))

  it.effect("drops the oldest lifecycle events beyond the limit, and all when nobody has taken them for long", () =>
    Effect.gen(function*() {
      const [one, two] = yield* makeTwo()
      yield* two.grant("lifecycle", 0)
      const emit = (json: string) => enqueue(one.queue, json, { lane: "lifecycle" })
      for (const json of ["a", "b", "c", "d"]) yield* emit(json)
      yield* two.grant("events", 1)
      yield* two.grant("lifecycle", 1)
      expect(two.texts()).toEqual(["b"])
      yield* two.grant("lifecycle", 0, 0)
      yield* emit("e")
      for (let times = 0; times < 22; times++) {
        yield* TestClock.adjust("500 millis")
        one.tick()
      }
      one.queue.dropUnattended()
      expect(yield* Effect.flip(emit("f"))).toEqual(new NoWorkerError({ lane: "lifecycle" }))
      yield* one.settled
      expect(one.queue.queuedIn("lifecycle")).toBe(0)
    }))

  it.effect("has the ages and the numbers of its lanes", () =>
    Effect.gen(function*() {
      const { grant, queue, settled } = yield* make()
      yield* enqueue(queue, "a")
      yield* enqueue(queue, "b")
      yield* TestClock.adjust("5 seconds")
      // The first may share a turn that began before.
      yield* Effect.andThen(settled, settled)
      expect(queue.infoOf("events")).toEqual({ queued: 2, unacked: 0, oldestAge: 5000 })
      yield* grant("events", 1)
      expect(queue.infoOf("events")).toMatchObject({ queued: 1, unacked: 1 })
    }))
})
