import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { ack, deliveriesOf, emit, enqueue, idOf, make, numbers, release, worker } from "../../../harness/lobby.ts"

describe("Lobby, dispatching events", () => {
  it.effect("queues events while no worker is connected, and sends them in order to the first that connects", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      yield* enqueue(lobby, ...numbers(0, 10))
      expect(yield* lobby.info).toEqual({ queued: 10, workers: [] })
      const a = worker("a")
      yield* lobby.register(a)
      expect(a.received).toEqual(numbers(0, 10))
      expect(yield* lobby.info).toEqual({ queued: 0, workers: ["a"] })
    }))

  it.effect("sends a long queue to one worker", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      yield* enqueue(lobby, ...numbers(0, 10_000))
      const a = worker("a", { isSent: true })
      yield* lobby.register(a)
      expect(a.received).toEqual(numbers(0, 10_000))
      expect((yield* lobby.info).queued).toBe(0)
    }))

  it.effect("chooses workers round robin", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const all = [worker("a"), worker("b"), worker("c")]
      yield* Effect.forEach(all, lobby.register)
      yield* enqueue(lobby, ...numbers(0, 7))
      expect(all.map(({ received }) => received)).toEqual([["e0", "e3", "e6"], ["e1", "e4"], ["e2", "e5"]])
      yield* lobby.leave("b")
      yield* enqueue(lobby, ...numbers(7, 11))
      expect(all.map(({ received }) => received.slice(2))).toEqual([["e6", "e8", "e10"], [], ["e7", "e9"]])
    }))

  it.effect("chooses among the others when the first, the last or the only worker leaves", () =>
    Effect.gen(function*() {
      // The original's broker looped for ever after the first worker had left.
      const lobby = yield* make()
      const [a, b, c] = [worker("a"), worker("b"), worker("c")]
      yield* lobby.register(a)
      yield* lobby.leave("a")
      yield* enqueue(lobby, "e0")
      yield* Effect.forEach([b, c], lobby.register)
      yield* enqueue(lobby, "e1", "e2")
      yield* lobby.leave("c")
      yield* enqueue(lobby, "e3")
      expect([a.received, b.received, c.received]).toEqual([[], ["e0", "e1", "e3"], ["e2"]])
    }))

  it.effect("has at most 64 events unsent to one worker, and chooses the others meanwhile", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const slow = worker("slow")
      yield* lobby.register(slow)
      yield* enqueue(lobby, ...numbers(0, 70))
      expect(slow.received).toEqual(numbers(0, 64))
      expect((yield* lobby.info).queued).toBe(6)
      const quick = worker("quick", { isSent: true })
      yield* lobby.register(quick)
      expect(quick.received).toEqual(numbers(64, 70))
      yield* enqueue(lobby, "e70")
      expect(quick.received.at(-1)).toBe("e70")
      // Each event that was sent makes room for one.
      slow.pending[0]!.sent(true)
      yield* enqueue(lobby, "e71", "e72")
      expect([slow.received.slice(64), quick.received.slice(7)]).toEqual([["e71"], ["e72"]])
    }))

  it.effect("sends a worker the next event as soon as one before was sent", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      yield* enqueue(lobby, ...numbers(0, 66))
      a.pending[10]!.sent(true)
      a.pending[0]!.sent(true)
      expect(a.received).toEqual(numbers(0, 66))
    }))

  it.effect("chooses the worker with the fewest unacked events, round robin among equals", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b, c] = [
        worker("a", { prefetch: 10, isSent: true }),
        worker("b", { prefetch: 10, isSent: true }),
        worker("c", { prefetch: 10, isSent: true })
      ]
      yield* Effect.forEach([a, b, c], lobby.register)
      yield* enqueue(lobby, ...numbers(0, 6))
      expect([a, b, c].map(({ received }) => received)).toEqual([["e0", "e3"], ["e1", "e4"], ["e2", "e5"]])
      yield* ack(lobby, c, "e2", "e5")
      yield* ack(lobby, b, "e1")
      // c holds none; then b and c hold one each, and it is b's turn; then all hold two.
      yield* enqueue(lobby, ...numbers(6, 10))
      expect([a, b, c].map(({ received }) => received.slice(2))).toEqual([["e9"], ["e7"], ["e6", "e8"]])
    }))

  it.effect("sends a worker as many events as its prefetch, none if that is 0", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const connection = {}
      const a = worker("a", { prefetch: 2, isSent: true, connection })
      const wants = (prefetch: number) => lobby.register({ ...a, prefetch })
      yield* lobby.register(a)
      yield* enqueue(lobby, ...numbers(0, 6))
      expect(a.received).toEqual(numbers(0, 2))
      yield* ack(lobby, a, "e0")
      expect(a.received).toEqual(numbers(0, 3))
      yield* wants(0)
      yield* ack(lobby, a, "e1")
      yield* release(lobby, a, "e2")
      yield* lobby.heartbeat("a")
      expect(a.received).toEqual(numbers(0, 3))
      expect((yield* lobby.info).queued).toBe(4)
      yield* wants(1)
      yield* wants(1)
      expect(deliveriesOf(a).slice(3)).toEqual([["e2", 2]])
      yield* wants(3)
      expect(deliveriesOf(a).slice(4)).toEqual([["e3", 1], ["e4", 1]])
      expect(lobby.counters).toMatchObject({ unacknowledged: 3, queued: 1 })
    }))

  it.effect("sends events to workers that ack and to workers that do not", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const plain = worker("plain")
      const a = worker("a", { prefetch: 2, isSent: true })
      yield* Effect.forEach([plain, a], lobby.register)
      yield* enqueue(lobby, "e0", "e1")
      expect([plain.received, plain.deliveries, deliveriesOf(a)]).toEqual([["e0"], [undefined], [["e1", 1]]])
      expect(lobby.counters).toMatchObject({ unacknowledged: 1, delivered: 1 })
      // A worker that does not ack cannot ack or nack.
      lobby.ackUnsafe("plain", plain.connection, [idOf(a, "e1")])
      lobby.nackUnsafe("plain", plain.connection, idOf(a, "e1"), "")
      expect(lobby.counters).toMatchObject({ unacknowledged: 1, acknowledged: 0 })
      // Unsent events go from the one to the other as a first attempt, and lost events from the other to the one.
      plain.pending[0]!.sent(false)
      expect(deliveriesOf(a)).toEqual([["e1", 1], ["e0", 1]])
      yield* lobby.leave("a")
      expect((yield* lobby.info).queued).toBe(2)
      yield* lobby.heartbeat("plain")
      expect([plain.received, plain.deliveries]).toEqual([["e0", "e0", "e1"], [undefined, undefined, undefined]])
      for (const { sent } of [...plain.pending]) sent(true)
      yield* lobby.leave("plain")
      expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 0, redelivered: 2, delivered: 4 })
    }))

  it.effect("chooses among many workers without looking at each", () =>
    Effect.gen(function*() {
      const count = 2000
      const lobby = yield* make()
      let looked = 0
      const all = numbers(0, count).map((id) => {
        const one = worker(id, { prefetch: 5, isSent: true })
        return Object.defineProperty(one, "prefetch", { get: () => (looked++, 5) })
      })
      yield* Effect.forEach(all, lobby.register)
      looked = 0
      yield* enqueue(lobby, ...numbers(0, count))
      expect(all.every(({ received }) => received.length === 1)).toBe(true)
      // Logarithmic in the number of workers, not linear.
      expect(looked / count).toBeLessThan(100)
      looked = 0
      yield* Effect.forEach(all.slice(0, 100), ({ id }) => lobby.heartbeat(id), { discard: true })
      expect(looked / 100).toBeLessThan(100)
    }))

  it.effect("gives every event an id that is unique in all vhosts", () =>
    Effect.gen(function*() {
      const ids = new Set<string>()
      for (const lobby of [yield* make(), yield* make()]) {
        const a = worker("a", { prefetch: 100, isSent: true, lifecycle: true })
        yield* lobby.register(a)
        yield* enqueue(lobby, ...numbers(0, 50))
        yield* emit(lobby, ...numbers(0, 50))
        for (const { id } of a.deliveries.map((delivery) => delivery!)) {
          expect(id).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/)
          ids.add(id)
        }
      }
      expect(ids.size).toBe(200)
    }))
})
