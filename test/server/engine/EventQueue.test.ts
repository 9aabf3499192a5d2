import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import type { Capacity, Enqueue, EventQueue, Lane, Queued } from "../../../src/server/engine/EventQueue.ts"
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

describe("the queue of a single broker", () => {
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

  it.effect("delivers within `grant` and `enqueue`", () =>
    Effect.gen(function*() {
      const { grant, queue, texts } = yield* make()
      expect(enqueue(queue, "a")).toEqual(Exit.succeed("Queued"))
      grant("events", 2)
      expect(texts()).toEqual(["a"])
      expect(enqueue(queue, "b")).toEqual(Exit.succeed("Queued"))
      expect(texts()).toEqual(["b"])
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
      const entry = {
        place: 1,
        id: "1",
        json: "a",
        origin: undefined,
        attempts: 0,
        failures: 0,
        losses: 0,
        delay: 1000
      }
      for (const [dueAt, due] of [[hour + 400, hour + 400], [hour * 9, hour + 1000], [0, undefined]] as const) {
        const { queue } = yield* make({ events: [{ ...entry, dueAt, dedupeKey: "k" }] })
        expect([queue.nextDue(), yield* enqueue(queue, "b", { dedupeKey: "k" })]).toEqual([due, "Duplicate"])
      }
      // Once it was delivered it has no delay.
      first.grant("events", 1)
      yield* TestClock.adjust("1 second")
      first.queue.requeueDue()
      expect(changes.at(-1)).toEqual({ ...entryOf(stored), attempts: 1, failures: 0, losses: 0 })
    }))
})
