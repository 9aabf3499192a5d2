import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import {
  type Capacity,
  type Enqueue,
  type EventQueue,
  type Lane,
  NoWorkerError,
  Outcome,
  type Queued,
  QueueFullError
} from "../../../src/server/engine/EventQueue.ts"
import * as LocalQueue from "../../../src/server/engine/internal/localQueue.ts"
import * as Timeline from "../../../src/server/engine/internal/timeline.ts"
import * as Journal from "../../../src/server/engine/Journal.ts"

/** A queue, with what it has delivered and responded. `credits` are used up by deliveries. */
const make = Effect.fnUntraced(function*(options?: Partial<Parameters<typeof LocalQueue.make>[0]>) {
  const clock = yield* Clock.Clock
  const delivered: Array<Queued> = []
  const responses: Array<unknown> = []
  const none = (): Capacity => ({ workers: 0, credits: 0, idle: 0 })
  const capacity = { events: none(), requests: none(), lifecycle: none() }
  const deadLetters = DeadLetters.make({ deadLetterCapacity: 10, deadLetterSize: 10_000, clock })
  const queue: EventQueue = LocalQueue.make({
    queueCapacity: 3,
    queueSize: 10_000,
    maxDeliveries: 2,
    redeliveryBackoff: Duration.millis(100),
    lifecycleRetention: Duration.seconds(10),
    deadLetters,
    clock,
    timeline: Timeline.make(clock, 500),
    deliver: (event) => {
      delivered.push(event)
      capacity[event.lane].credits--
    },
    respond: (replyTo, response) => void responses.push([replyTo, response]),
    ...options
  })
  return {
    queue,
    deadLetters,
    responses,
    grant: (lane: Lane, credits: number, workers = 1) => {
      Object.assign(capacity[lane], { workers, credits, idle: workers })
      queue.grant(capacity)
    },
    delivered: () => delivered.splice(0),
    texts: () => delivered.splice(0).map(({ json }) => json)
  }
})

const entryOf = (stored: unknown): object => {
  const { delay: _, dueAt: __, ...entry } = stored as { readonly delay: unknown; readonly dueAt: unknown }
  return entry
}

const enqueue = (queue: EventQueue, json: string, more?: Partial<Enqueue>) =>
  queue.enqueue({ lane: "events", json, ...more })

describe("EventQueue", () => {
  it.effect("ends at most 256 requests in one step whose deadline has passed", () =>
    Effect.gen(function*() {
      const { grant, queue, responses } = yield* make({ queueCapacity: 1000, queueSize: 1_000_000 })
      grant("requests", 0)
      for (let n = 0; n < 600; n++) {
        yield* enqueue(queue, `{"n":${n}}`, { lane: "requests", replyTo: n, deadline: 5 })
      }
      yield* TestClock.adjust("10 millis")
      const counts: Array<number> = []
      while ((queue.nextDue() ?? Infinity) <= 10) {
        queue.requeueDue()
        counts.push(responses.length)
      }
      expect(counts).toEqual([256, 512, 600])
      expect(queue.counters.queued).toBe(0)
    }))

  it.effect("delivers within `grant` and `enqueue`, in order over all lanes", () =>
    Effect.gen(function*() {
      const { grant, queue, texts } = yield* make()
      grant("requests", 0)
      grant("lifecycle", 0)
      for (const [json, lane] of [["a", "events"], ["b", "lifecycle"], ["c", "requests"], ["d", "events"]] as const) {
        expect(enqueue(queue, json, { lane })).toEqual(Exit.succeed("Queued"))
      }
      grant("events", 1)
      expect(texts()).toEqual(["a"])
      grant("requests", 5)
      expect(texts()).toEqual(["c"])
      grant("lifecycle", 5)
      expect(texts()).toEqual(["b"])
      grant("events", 5)
      expect(texts()).toEqual(["d"])
    }))

  it.effect("rejects requests and lifecycle events that no worker takes, and events beyond the limit", () =>
    Effect.gen(function*() {
      const { grant, queue } = yield* make()
      for (const lane of ["requests", "lifecycle"] as const) {
        expect(yield* Effect.flip(enqueue(queue, "a", { lane }))).toEqual(new NoWorkerError({ lane }))
      }
      for (const json of ["a", "b", "c"]) yield* enqueue(queue, json)
      grant("events", 2)
      expect(yield* Effect.flip(enqueue(queue, "d"))).toEqual(new QueueFullError({ queued: 1, unacked: 2 }))
      expect(queue.counters).toMatchObject({ accepted: 3, refused: 1, queued: 1 })
      // The other lanes have limits of their own.
      grant("requests", 0)
      expect(yield* enqueue(queue, "e", { lane: "requests" })).toBe("Queued")
    }))

  it.effect("delays an event, which counts towards the limits, and returns when the next is due", () =>
    Effect.gen(function*() {
      const wakes: Array<number | undefined> = []
      const { grant, queue, texts } = yield* make({ wake: () => void wakes.push(queue.nextDue()) })
      grant("events", 10)
      yield* enqueue(queue, "late", { delay: Duration.seconds(2) })
      yield* enqueue(queue, "later", { delay: Duration.seconds(3) })
      yield* enqueue(queue, "soon", { delay: Duration.seconds(1) })
      expect(wakes).toEqual([2000, 1000])
      yield* Effect.flip(enqueue(queue, "full", { delay: Duration.seconds(1) }))
      // One that is delivered at once needs no room.
      yield* enqueue(queue, "now")
      queue.requeueDue()
      expect(texts()).toEqual(["now"])
      yield* TestClock.adjust("1 second")
      queue.requeueDue()
      expect([texts(), queue.nextDue()]).toEqual([["soon"], 2000])
      yield* TestClock.adjust("2 seconds")
      queue.requeueDue()
      expect([texts(), queue.nextDue()]).toEqual([["late", "later"], undefined])
    }))

  it.effect("restores a delay and a key, and no delay becomes longer because the clock was set", () =>
    Effect.gen(function*() {
      const changes: Array<unknown> = []
      const journal = {
        ...Journal.none,
        created: (entry: object) => void changes.push(entry),
        updated: (entry: object) => void changes.push(entry)
      }
      yield* TestClock.adjust("1 hour")
      const hour = 3_600_000
      const first = yield* make({ journal })
      yield* enqueue(first.queue, "a", { delay: Duration.seconds(1), dedupeKey: "k" })
      const [stored] = changes
      expect(stored).toMatchObject({ json: "a", delay: 1000, dueAt: hour + 1000, dedupeKey: "k" })
      const entry = { id: "1", json: "a", origin: undefined, attempts: 0, failures: 0, losses: 0, delay: 1000 }
      for (const [dueAt, due] of [[hour + 400, hour + 400], [hour * 9, hour + 1000], [0, undefined]] as const) {
        const { queue } = yield* make({ events: [{ ...entry, dueAt, dedupeKey: "k" }] })
        expect([queue.nextDue(), yield* enqueue(queue, "b", { dedupeKey: "k" })]).toEqual([due, "Duplicate"])
      }
      // Once it was delivered it has no delay.
      first.grant("events", 1)
      yield* TestClock.adjust("1 second")
      first.queue.requeueDue()
      expect(changes.at(-1)).toEqual({ ...entryOf(stored), attempts: 1 })
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
      const { delivered, grant, queue } = yield* make()
      const twice = { dedupeKey: "k" }
      expect(yield* enqueue(queue, "a", twice)).toBe("Queued")
      expect(yield* enqueue(queue, "b", twice)).toBe("Duplicate")
      grant("events", 1)
      const [event] = delivered()
      expect(yield* enqueue(queue, "b", twice)).toBe("Duplicate")
      queue.settle([event!], Outcome.Acked())
      expect(yield* enqueue(queue, "b", twice)).toBe("Queued")
    }))

  it.effect("cancels an event that is queued or delayed, and not one that was delivered", () =>
    Effect.gen(function*() {
      const { grant, queue, texts } = yield* make()
      grant("requests", 0)
      const lane = "requests"
      for (const json of ["a", "b", "c"]) yield* enqueue(queue, json, { lane, dedupeKey: json })
      const cancel = (key: string) => queue.cancel(lane, key)
      expect([cancel("b"), cancel("b"), cancel("x"), queue.cancel("events", "a")]).toEqual([true, false, false, false])
      yield* enqueue(queue, "d", { lane, dedupeKey: "d", delay: Duration.seconds(1) })
      expect([cancel("d"), queue.nextDue()]).toEqual([true, undefined])
      grant("requests", 10)
      expect(texts()).toEqual(["a", "c"])
      expect(cancel("a")).toBe(false)
      expect(queue.queuedIn(lane)).toBe(0)
    }))

  it.effect("passes a response to the sender of its request", () =>
    Effect.gen(function*() {
      const { delivered, grant, queue, responses } = yield* make()
      grant("requests", 1)
      yield* enqueue(queue, "a", { lane: "requests", replyTo: "browser", deadline: 7 })
      const [event] = delivered()
      expect(event).toMatchObject({ deadline: 7, replyTo: "browser", attempts: 1 })
      queue.settle([event!], Outcome.Responded({ outcome: "ok", json: "1" }))
      queue.settle([event!], Outcome.Responded({ outcome: "ok", json: "2" }))
      expect(responses).toEqual([["browser", { _tag: "Responded", outcome: "ok", json: "1" }]])
    }))

  it.effect("requeues several events at their old positions, and ends no delivery twice", () =>
    Effect.gen(function*() {
      const { deadLetters, delivered, grant, queue, texts } = yield* make({ queueCapacity: 10 })
      for (const json of ["a", "b", "c", "d"]) yield* enqueue(queue, json)
      grant("events", 3)
      const [a, b, c] = delivered()
      for (const events of [[c!, a!], [b!], [a!, b!, c!]]) queue.settle(events, Outcome.Lost({ isCounted: true }))
      expect(yield* deadLetters.list).toEqual([])
      grant("events", 4)
      expect(texts()).toEqual(["a", "b", "c", "d"])
      expect(queue.counters.redelivered).toBe(3)
      queue.settle([b!], Outcome.Lost({ isCounted: true }))
      expect(yield* deadLetters.list).toMatchObject([{
        json: "b",
        attempts: 2,
        reason: expect.stringContaining("2 times")
      }])
    }))
})
