import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as Lobby from "../../../../src/server/engine/Lobby.ts"
import {
  ack,
  deliveriesOf,
  enqueue,
  type FakeWorker,
  firstAttempts,
  idOf,
  make,
  makeDeadLetters,
  nack,
  numbers,
  release,
  tickAfter,
  worker
} from "../../../harness/lobby.ts"

/** A worker whose handlers may fail often, in a lobby with a backoff of 100 ms. */
const failing = Effect.fnUntraced(function*(options?: Parameters<typeof make>[0]) {
  const deadLetters = yield* makeDeadLetters
  const lobby = yield* make({ redeliveryBackoff: Duration.millis(100), deadLetters, ...options })
  const a = worker("a", { prefetch: 1, maxAttempts: 100, isSent: true })
  yield* lobby.register(a)
  return { lobby, a, deadLetters }
})

/** The milliseconds until the event is redelivered. */
const waits = (lobby: Lobby.Lobby, w: FakeWorker, end: Effect.Effect<void>) =>
  Effect.gen(function*() {
    const [before, clock] = [w.received.length, yield* Clock.Clock]
    const start = clock.currentTimeMillisUnsafe()
    yield* end
    while (w.received.length === before) {
      const due = lobby.nextDue()!
      yield* TestClock.adjust(due - Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
      yield* lobby.redeliver
    }
    return clock.currentTimeMillisUnsafe() - start
  })

describe("Lobby, redelivery", () => {
  it.effect.each(["leaves", "expires", "is replaced", "is dismissed", "releases them"] as const)(
    "requeues the events of a worker that %s at their old positions, in order, as another attempt",
    (how) =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const connection = {}
        const a = worker("a", { prefetch: 3, isSent: true, connection })
        const next = worker(how === "is replaced" ? "a" : "b", { prefetch: 10, isSent: true })
        yield* lobby.register(a)
        yield* enqueue(lobby, ...numbers(0, 5))
        expect(deliveriesOf(a)).toEqual(firstAttempts(0, 3))
        const ids = a.deliveries.map((delivery) => delivery!.id)
        if (how === "leaves") yield* lobby.leave("a", connection)
        if (how === "expires") {
          yield* tickAfter(lobby, 2000)
        }
        if (how === "is dismissed") yield* lobby.dismissAll
        if (how === "releases them") {
          yield* lobby.register(worker("a", { prefetch: 0, connection }))
          for (const event of ["e1", "e0", "e2"]) yield* release(lobby, a, event)
        }
        if (how !== "is replaced") expect((yield* lobby.info).queued).toBe(5)
        yield* lobby.register(next)
        expect(deliveriesOf(next)).toEqual([["e0", 2], ["e1", 2], ["e2", 2], ["e3", 1], ["e4", 1]])
        expect(next.deliveries.slice(0, 3).map((delivery) => delivery!.id)).toEqual(ids)
        expect(a.received.length).toBe(3)
        expect(lobby.counters).toMatchObject({ redelivered: 3, unacknowledged: 5, queued: 0 })
      })
  )

  it.effect("sends the events of a worker that leaves to the others at once", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { prefetch: 10, isSent: true }), worker("b", { prefetch: 10, isSent: true })]
      yield* Effect.forEach([a, b], lobby.register)
      yield* enqueue(lobby, ...numbers(0, 4))
      yield* lobby.leave("a")
      expect(deliveriesOf(b)).toEqual([["e1", 1], ["e3", 1], ["e0", 2], ["e2", 2]])
      expect((yield* lobby.info).queued).toBe(0)
    }))

  it.effect("sends the events of workers that expire together to none of them", () =>
    Effect.gen(function*() {
      for (const how of ["expire", "dismissAll"] as const) {
        const lobby = yield* make()
        const gone = numbers(0, 3).map((id) => worker(id, { prefetch: 10, isSent: true }))
        const stays = worker("stays", { prefetch: 10, isSent: true })
        yield* Effect.forEach(gone, lobby.register)
        yield* enqueue(lobby, ...numbers(0, 3))
        if (how === "expire") {
          yield* tickAfter(lobby, 1500)
          yield* lobby.register(
            worker("stays", { prefetch: 0, isSent: true, connection: stays.connection as object })
          )
          yield* tickAfter(lobby, 500)
          yield* lobby.register(stays)
        } else {
          yield* lobby.dismissAll
          yield* lobby.register(stays)
        }
        expect(gone.map(deliveriesOf)).toEqual([[["e0", 1]], [["e1", 1]], [["e2", 1]]])
        expect(deliveriesOf(stays)).toEqual([["e0", 2], ["e1", 2], ["e2", 2]])
        expect(gone.map(({ log }) => log.at(-1))).toEqual(["dismissed", "dismissed", "dismissed"])
      }
    }))

  it.effect("redelivers an event whose handler failed up to maxAttempts, then it is a dead letter", () =>
    Effect.gen(function*() {
      const deadLetters = yield* makeDeadLetters
      const lobby = yield* make({ deadLetters })
      const a = worker("a", { prefetch: 1, maxAttempts: 3, isSent: true })
      yield* lobby.register(a)
      yield* lobby.enqueue("e0", `{"sid":"s"}`)
      yield* lobby.enqueue("e1")
      for (const attempt of [1, 2, 3]) {
        expect(deliveriesOf(a).at(-1)).toEqual(["e0", attempt])
        expect(yield* deadLetters.list).toEqual([])
        yield* TestClock.adjust(1)
        yield* nack(lobby, a, "e0", `it failed ${attempt}`)
      }
      expect(yield* deadLetters.list).toEqual([
        { id: idOf(a, "e0"), json: "e0", origin: `{"sid":"s"}`, attempts: 3, reason: "it failed 3", failedAt: 3 }
      ])
      // The next event was sent in its place.
      expect(deliveriesOf(a)).toEqual([["e0", 1], ["e0", 2], ["e0", 3], ["e1", 1]])
      expect(lobby.counters).toMatchObject({ redelivered: 2, acknowledged: 0, unacknowledged: 1, queued: 0 })
      yield* lobby.leave("a")
      expect((yield* lobby.info).queued).toBe(1)
    }))

  it.effect("makes an event a dead letter at its first failure if maxAttempts is at most 1", () =>
    Effect.gen(function*() {
      for (const maxAttempts of [1, 0, -1]) {
        const deadLetters = yield* makeDeadLetters
        const lobby = yield* make({ deadLetters })
        const a = worker("a", { prefetch: 1, maxAttempts, isSent: true })
        yield* lobby.register(a)
        yield* lobby.enqueue("e0")
        yield* nack(lobby, a, "e0", "it failed")
        expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 1, reason: "it failed" }])
        expect([a.received.length, lobby.counters.redelivered]).toEqual([1, 0])
      }
    }))

  it.effect("redelivers a released event without limit, and counts failures alone", () =>
    Effect.gen(function*() {
      const deadLetters = yield* makeDeadLetters
      const lobby = yield* make({ deadLetters })
      const [a, b] = [
        worker("a", { prefetch: 1, maxAttempts: 1, isSent: true }),
        worker("b", { prefetch: 1, maxAttempts: 2, isSent: true })
      ]
      yield* lobby.register(a)
      yield* lobby.enqueue("e0")
      for (let n = 0; n < 5; n++) yield* release(lobby, a, "e0")
      expect(yield* deadLetters.list).toEqual([])
      expect(deliveriesOf(a).at(-1)).toEqual(["e0", 6])
      yield* lobby.leave("a")
      yield* lobby.register(b)
      // The limit is that of the worker at which it fails.
      yield* nack(lobby, b, "e0", "once")
      expect(deliveriesOf(b)).toEqual([["e0", 7], ["e0", 8]])
      yield* nack(lobby, b, "e0", "twice")
      expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 8, reason: "twice" }])
    }))

  it.effect("waits twice as long after each failure of the handler, up to a limit, and others pass", () =>
    Effect.gen(function*() {
      const { a, lobby } = yield* failing()
      yield* enqueue(lobby, "e0")
      const waited = yield* Effect.replicateEffect(waits(lobby, a, nack(lobby, a, "e0", "it failed")), 9)
      expect(waited).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400])
      yield* enqueue(lobby, "e1")
      yield* nack(lobby, a, "e0", "it failed")
      expect(a.received.at(-1)).toBe("e1")
      expect(lobby.counters).toMatchObject({ queued: 1, unacknowledged: 1 })
      yield* ack(lobby, a, "e1")
      expect(lobby.nextDue()).toBeGreaterThan(0)
      yield* lobby.redeliver
      expect(a.received.at(-1)).toBe("e1")
    }))

  it.effect("waits from the second release on, which counts for neither limit", () =>
    Effect.gen(function*() {
      const { a, deadLetters, lobby } = yield* failing({ maxDeliveries: 1 })
      const impatient = { ...a, maxAttempts: 1 }
      yield* lobby.register(impatient)
      yield* enqueue(lobby, "e0")
      const waited = yield* Effect.replicateEffect(waits(lobby, a, release(lobby, a, "e0")), 9)
      expect(waited).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 6400])
      // Releases before did not count as failures.
      yield* nack(lobby, a, "e0", "it failed")
      expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 10, reason: "it failed" }])
    }))

  it.effect("counts events that wait for their backoff towards the limits, and requeues them at their old positions", () =>
    Effect.gen(function*() {
      const { a, lobby } = yield* failing({ queueCapacity: 2 })
      yield* lobby.register({ ...a, prefetch: 2 })
      yield* enqueue(lobby, "e0", "e1")
      yield* nack(lobby, a, "e1", "it failed")
      yield* nack(lobby, a, "e0", "it failed")
      yield* lobby.register({ ...a, prefetch: 0 })
      expect((yield* lobby.info).queued).toBe(2)
      expect((yield* Effect.flip(lobby.enqueue("e2"))).detail).toContain("2 events are queued")
      yield* TestClock.adjust("100 millis")
      // A tick requeues them, too.
      yield* lobby.tick
      yield* lobby.register({ ...a, prefetch: 2 })
      expect(a.received.slice(2)).toEqual(["e0", "e1"])
    }))

  it.effect("makes an event a dead letter after maxDeliveries lost workers", () =>
    Effect.gen(function*() {
      const { a, deadLetters, lobby } = yield* failing({ maxDeliveries: 4 })
      yield* enqueue(lobby, "e0", "e1")
      const lose = [
        lobby.leave("a"),
        lobby.register(worker("a", { prefetch: 1, maxAttempts: 100, isSent: true })),
        tickAfter(lobby, 2500)
      ]
      for (const end of lose) {
        yield* lobby.register(a)
        // None of these is a loss: a failure, a release, a dismissal by the broker, an unsent delivery.
        yield* waits(lobby, a, nack(lobby, a, "e0", "it failed"))
        yield* release(lobby, a, "e0")
        yield* TestClock.adjust("10 seconds")
        yield* lobby.redeliver
        yield* lobby.dismissAll
        yield* lobby.register(worker("broken", { prefetch: 1, isSent: false }))
        yield* lobby.leave("broken")
        yield* lobby.register(a)
        expect(a.received.at(-1)).toBe("e0")
        expect(yield* deadLetters.list).toEqual([])
        yield* end
        yield* lobby.dismissAll
      }
      yield* lobby.register(a)
      yield* lobby.leave("a")
      expect(yield* deadLetters.list).toMatchObject([{
        json: "e0",
        reason: "delivered 4 times without an acknowledgement: its worker crashed, timed out or lost its connection"
      }])
      expect((yield* lobby.info).queued).toBe(1)
    }))

  it.effect("makes the events of a lost worker dead letters in their order", () =>
    Effect.gen(function*() {
      const deadLetters = yield* makeDeadLetters
      const lobby = yield* make({ maxDeliveries: 1, deadLetters })
      const a = worker("a", { prefetch: 3, isSent: true })
      yield* lobby.register(a)
      yield* enqueue(lobby, "e0", "e1", "e2")
      yield* lobby.leave("a")
      expect((yield* deadLetters.list).map(({ json }) => json)).toEqual(["e0", "e1", "e2"])
    }))
})
