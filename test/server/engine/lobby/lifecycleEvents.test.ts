import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { emit, enqueue, make, numbers, texts, tickAfter, worker } from "../../../harness/lobby.ts"

describe("Lobby, lifecycle events", () => {
  it.effect("are not queued before the first worker that takes them", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [plain, taker] = [worker("plain"), worker("taker", { lifecycle: true })]
      yield* emit(lobby, "l0")
      yield* lobby.register(plain)
      yield* emit(lobby, "l1")
      expect(lobby.counters).toMatchObject({ accepted: 0, delivered: 0, refused: 0, dropped: 0 })
      yield* lobby.register(taker)
      expect([plain.received, taker.received]).toEqual([[], []])
      yield* emit(lobby, "l2")
      expect([plain.received, taker.received]).toEqual([[], texts("l2")])
      expect(taker.origins).toEqual([undefined])
    }))

  it.effect("are sent only to workers that take them, each to one, round robin", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, plain, b] = [
        worker("a", { lifecycle: true }),
        worker("plain"),
        worker("b", { lifecycle: true })
      ]
      yield* Effect.forEach([a, plain, b], lobby.register)
      yield* emit(lobby, "l0", "l1", "l2")
      expect([a.received, plain.received, b.received]).toEqual([texts("l0", "l2"), [], texts("l1")])
      // The worker that was passed over is the next one for other events.
      yield* enqueue(lobby, "e0", "e1", "e2")
      expect([a.received.slice(2), plain.received, b.received.slice(1)]).toEqual([["e2"], ["e0"], ["e1"]])
    }))

  it.effect("are in one order with the other events", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [first, next] = [worker("first", { lifecycle: true }), worker("next", { lifecycle: true })]
      yield* lobby.register(first)
      yield* lobby.leave("first")
      yield* enqueue(lobby, "e0")
      yield* emit(lobby, "l0", "l1")
      yield* enqueue(lobby, "e1", "e2")
      yield* emit(lobby, "l2")
      expect((yield* lobby.info).queued).toBe(3)
      yield* lobby.register(next)
      expect(next.received).toEqual(["e0", ...texts("l0", "l1"), "e1", "e2", ...texts("l2")])
      expect(lobby.counters).toMatchObject({ accepted: 6, delivered: 0, refused: 0, dropped: 0 })
      for (const { sent } of [...next.pending]) sent(true)
      expect(lobby.counters.delivered).toBe(6)
    }))

  it.effect("do not block workers that do not take them", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [taker, plain] = [worker("taker", { lifecycle: true }), worker("plain")]
      yield* lobby.register(taker)
      yield* lobby.leave("taker")
      yield* emit(lobby, "l0")
      yield* enqueue(lobby, "e0")
      yield* lobby.register(plain)
      yield* enqueue(lobby, "e1")
      expect(plain.received).toEqual(["e0", "e1"])
      yield* lobby.register(taker)
      expect(taker.received).toEqual(texts("l0"))
    }))

  it.effect("have a limit of their own, beyond which the oldest are dropped and counted", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueCapacity: 3 })
      const taker = worker("taker", { lifecycle: true })
      yield* lobby.register(taker)
      yield* lobby.leave("taker")
      yield* emit(lobby, ...numbers(0, 5))
      expect(lobby.counters).toMatchObject({ accepted: 5, delivered: 0, refused: 0, dropped: 2 })
      // They do not count towards the limits of other events.
      yield* enqueue(lobby, "t0", "t1", "t2")
      yield* Effect.flip(lobby.enqueue("refused"))
      expect(lobby.counters).toMatchObject({ accepted: 8, delivered: 0, refused: 1, dropped: 2 })
      yield* lobby.register(taker)
      expect(taker.received).toEqual([...texts("e2", "e3", "e4"), "t0", "t1", "t2"])
    }))

  it.effect("are dropped, oldest first, beyond queueSize", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 30 })
      const taker = worker("taker", { lifecycle: true })
      yield* lobby.register(taker)
      yield* lobby.leave("taker")
      // Nine bytes each in UTF-8.
      yield* emit(lobby, "l0", "ż", "l2")
      expect(lobby.counters.dropped).toBe(0)
      yield* emit(lobby, "0123456789")
      expect(lobby.counters.dropped).toBe(2)
      // One that is larger than the limit is queued alone.
      yield* emit(lobby, "0123456789012345678901234567890123456789")
      expect(lobby.counters.dropped).toBe(4)
      yield* lobby.register(taker)
      expect(taker.received).toEqual(texts("0123456789012345678901234567890123456789"))
    }))

  it.effect("are dropped and counted if they are too large for a worker's connection", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ maxMessageSize: 256 + 20 })
      const taker = worker("taker", { lifecycle: true })
      yield* lobby.register(taker)
      yield* emit(lobby, "ż".repeat(6), "ż".repeat(7))
      expect(taker.received).toEqual(texts("ż".repeat(6)))
      expect(lobby.counters).toMatchObject({ accepted: 1, delivered: 0, refused: 0, dropped: 1 })
    }))

  it.effect("are requeued at their old positions if they could not be sent", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { lifecycle: true }), worker("b", { lifecycle: true })]
      yield* lobby.register(a)
      for (const n of [0, 1, 2]) {
        yield* enqueue(lobby, `e${n}`)
        yield* emit(lobby, `l${n}`)
      }
      const pending = [...a.pending]
      for (const index of [3, 0, 5, 2, 1, 4]) pending[index]!.sent(false)
      yield* emit(lobby, "l3")
      expect((yield* lobby.info).queued).toBe(3)
      yield* lobby.register(b)
      expect(b.received).toEqual(["e0", ...texts("l0"), "e1", ...texts("l1"), "e2", ...texts("l2", "l3")])
      expect(lobby.counters).toMatchObject({ accepted: 7, delivered: 0, refused: 0, dropped: 0 })
    }))

  it.effect("are queued for lifecycleRetention after the last taker has left, then dropped", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ lifecycleRetention: Duration.seconds(10) })
      const [taker, plain] = [worker("taker", { lifecycle: true }), worker("plain", { isSent: true })]
      yield* lobby.register(taker)
      yield* lobby.register(plain)
      yield* lobby.leave("taker")
      yield* emit(lobby, "l0")
      yield* tickAfter(lobby, 10_000)
      yield* emit(lobby, "l1")
      expect(lobby.counters.dropped).toBe(0)
      // A worker that does not take them does not retain them.
      yield* lobby.register(plain)
      yield* tickAfter(lobby, 1)
      expect(lobby.counters).toMatchObject({ accepted: 2, delivered: 0, refused: 0, dropped: 2 })
      yield* emit(lobby, "l2")
      yield* lobby.register(taker)
      expect(taker.received).toEqual([])
      yield* emit(lobby, "l3")
      expect([taker.received, plain.received]).toEqual([texts("l3"), []])
    }))

  it.effect("are retained anew from the last time a taker was connected", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ lifecycleRetention: Duration.seconds(10) })
      const taker = worker("taker", { lifecycle: true })
      yield* lobby.register(taker)
      yield* lobby.leave("taker")
      yield* tickAfter(lobby, 9000)
      yield* lobby.register(taker)
      yield* lobby.leave("taker")
      yield* emit(lobby, "l0")
      yield* tickAfter(lobby, 9000)
      yield* lobby.register(taker)
      expect(taker.received).toEqual(texts("l0"))
    }))

  it.effect("are sent to a connected taker however short lifecycleRetention is", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ lifecycleRetention: Duration.zero })
      const taker = worker("taker", { lifecycle: true, isSent: true })
      yield* lobby.register(taker)
      for (const n of [0, 1, 2]) {
        yield* emit(lobby, `l${n}`)
        yield* tickAfter(lobby, 500)
      }
      expect(taker.received).toEqual(texts("l0", "l1", "l2"))
      yield* lobby.leave("taker")
      yield* tickAfter(lobby, 500)
      yield* emit(lobby, "l3")
      expect(lobby.counters).toMatchObject({ accepted: 3, delivered: 3, refused: 0, dropped: 0 })
    }))

  it.effect("are not sent to a worker that no longer takes them", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const connection = {}
      const before = worker("a", { connection, lifecycle: true })
      const after = worker("a", { connection })
      yield* lobby.register(before)
      yield* lobby.register(after)
      yield* emit(lobby, "l0")
      yield* enqueue(lobby, "e0")
      expect([before.received, after.received]).toEqual([[], ["e0"]])
      yield* lobby.register(before)
      expect(before.received).toEqual(texts("l0"))
    }))
})
