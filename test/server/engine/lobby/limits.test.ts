import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { InternalError } from "../../../../src/protocol/KosmonautError.ts"
import { ack, emit, enqueue, make, numbers, texts, worker } from "../../../harness/lobby.ts"

describe("Lobby, limits of the queue", () => {
  it.effect("rejects events beyond queueCapacity with 597, until there is room again", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueCapacity: 3 })
      yield* enqueue(lobby, "e0", "e1", "e2")
      const failure = yield* Effect.flip(lobby.enqueue("refused"))
      expect(failure).toBeInstanceOf(InternalError)
      expect(failure.code).toBe(597)
      expect((yield* lobby.info).queued).toBe(3)
      const a = worker("a")
      yield* lobby.register(a)
      yield* enqueue(lobby, "e3")
      expect(a.received).toEqual(["e0", "e1", "e2", "e3"])
    }))

  it.effect("calls `wake` for a rejected event, so that it is logged soon", () =>
    Effect.gen(function*() {
      let woken = 0
      const lobby = yield* make({ queueCapacity: 1, wake: () => void woken++ })
      yield* lobby.enqueue("e0")
      expect(woken).toBe(0)
      yield* Effect.flip(lobby.enqueue("rejected"))
      expect(woken).toBe(1)
    }))

  it.effect("rejects events beyond queueSize with 597, in bytes and with those that are being sent", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 20 })
      const [a, b] = [worker("a"), worker("b")]
      yield* enqueue(lobby, "12345678", "żżżż")
      expect(yield* Effect.flip(lobby.enqueue("12345"))).toBeInstanceOf(InternalError)
      // A smaller one still fits.
      yield* lobby.enqueue("1234")
      yield* Effect.flip(lobby.enqueue("1"))
      yield* lobby.register(a)
      yield* lobby.leave("a")
      expect(a.received).toEqual(["12345678", "żżżż", "1234"])
      // They may turn out to be unsent.
      yield* Effect.flip(lobby.enqueue("1"))
      for (const { sent } of [...a.pending]) sent(false)
      expect((yield* lobby.info).queued).toBe(3)
      yield* Effect.flip(lobby.enqueue("1"))
      yield* lobby.register(b)
      expect(b.received).toEqual(["12345678", "żżżż", "1234"])
      for (const { sent } of [...b.pending]) sent(true)
      yield* lobby.leave("b")
      yield* enqueue(lobby, "12345678901234567890")
    }))

  it.effect("rejects an event that is too large for a worker's connection with 597, in bytes", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ maxMessageSize: 1000 })
      const a = worker("a")
      // 256 bytes of the limit are reserved for what the transport adds.
      const fits = `{"e":{"text":"${"ż".repeat(350)}"}}`
      const doesNot = `{"e":{"text":"${"ż".repeat(493)}"}}`
      for (const join of [Effect.void, lobby.register(a)]) {
        yield* join
        const failure = yield* Effect.flip(lobby.enqueue(doesNot))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        yield* lobby.enqueue(fits)
      }
      expect(a.received).toEqual([fits, fits])
    }))

  it.effect("counts an event's origin, which every delivery has, towards queueSize and the message size", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 20, maxMessageSize: 286 })
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.enqueue("12345678", "1234")
      expect((yield* Effect.flip(lobby.enqueue("12345", "1234"))).code).toBe(597)
      yield* lobby.enqueue("1234")
      yield* lobby.register(a)
      expect(a.origins).toEqual(["1234", undefined])
      yield* lobby.leave("a")
      for (const { sent } of [...a.pending]) sent(false)
      yield* Effect.flip(lobby.enqueue("12345"))
      yield* lobby.register(b)
      expect([b.received, b.origins]).toEqual([["12345678", "1234"], ["1234", undefined]])
      yield* lobby.enqueue("1".repeat(20), "1".repeat(10))
      expect((yield* Effect.flip(lobby.enqueue("1".repeat(20), "1".repeat(11)))).code).toBe(597)
      expect((yield* Effect.flip(lobby.enqueue("1".repeat(20), "é".repeat(6)))).code).toBe(597)
    }))

  it.effect("sends an event to a worker with credit even if nothing may be queued", () =>
    Effect.gen(function*() {
      for (const options of [{ queueCapacity: 0 }, { queueSize: 0 }]) {
        const lobby = yield* make(options)
        yield* Effect.flip(lobby.enqueue("e0"))
        const a = worker("a")
        yield* lobby.register(a)
        yield* lobby.enqueue("e1")
        expect(a.received).toEqual(["e1"])
        yield* lobby.leave("a")
        yield* Effect.flip(lobby.enqueue("e2"))
      }
    }))

  it.effect("counts unacked events towards queueCapacity", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueCapacity: 3 })
      const a = worker("a", { prefetch: 2, isSent: true })
      yield* lobby.register(a)
      yield* enqueue(lobby, "e0", "e1", "e2")
      expect((yield* Effect.flip(lobby.enqueue("refused"))).code).toBe(597)
      expect(lobby.counters).toMatchObject({ queued: 1, unacknowledged: 2, refused: 1 })
      yield* ack(lobby, a, "e0")
      yield* lobby.enqueue("e3")
      yield* Effect.flip(lobby.enqueue("refused"))
      // Redelivered events are not rejected.
      yield* lobby.leave("a")
      expect((yield* lobby.info).queued).toBe(3)
      yield* Effect.flip(lobby.enqueue("refused"))
    }))

  it.effect("counts unacked events towards queueSize", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 20 })
      const a = worker("a", { prefetch: 2, isSent: true })
      yield* lobby.register(a)
      yield* enqueue(lobby, "12345678", "żżżż")
      yield* Effect.flip(lobby.enqueue("12345"))
      yield* lobby.enqueue("1234")
      yield* Effect.flip(lobby.enqueue("1"))
      yield* ack(lobby, a, "żżżż")
      expect(a.received.at(-1)).toBe("1234")
      yield* lobby.enqueue("87654321")
      yield* Effect.flip(lobby.enqueue("1"))
    }))

  it.effect("sends a worker one event even if the unacked ones exceed the limits, whatever its prefetch", () =>
    Effect.gen(function*() {
      for (const bound of [{ queueCapacity: 2 }, { queueSize: 4 }, { queueCapacity: 0 }, { queueSize: 0 }]) {
        const lobby = yield* make(bound)
        const [a, b] = [worker("a", { prefetch: 1e9, isSent: true }), worker("b", { prefetch: 1e9, isSent: true })]
        const most = Math.max(1, bound.queueCapacity ?? bound.queueSize / 2)
        yield* lobby.register(a)
        yield* enqueue(lobby, ...numbers(0, most))
        yield* Effect.flip(lobby.enqueue("no"))
        expect(a.received).toEqual(numbers(0, most))
        yield* lobby.register(b)
        yield* lobby.enqueue("e8")
        yield* Effect.flip(lobby.enqueue("no"))
        expect(b.received).toEqual(["e8"])
        yield* ack(lobby, b, "e8")
        yield* lobby.enqueue("e9")
        expect(b.received).toEqual(["e8", "e9"])
      }
    }))

  it.effect("counts lifecycle events and others apart", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueCapacity: 2 })
      const taker = worker("taker", { prefetch: 2, isSent: true, lifecycle: true })
      yield* lobby.register(taker)
      yield* emit(lobby, "l0", "l1", "l2")
      expect(lobby.counters).toMatchObject({ unacknowledged: 2, queued: 1, dropped: 0 })
      yield* enqueue(lobby, "e0", "e1")
      yield* Effect.flip(lobby.enqueue("refused"))
      yield* emit(lobby, "l3")
      expect(lobby.counters).toMatchObject({ accepted: 6, dropped: 1, refused: 1 })
      yield* ack(lobby, taker, ...texts("l0", "l1"))
      expect(taker.received).toEqual([...texts("l0", "l1"), "e0", "e1"])
      // Two other events are unacked, which leaves the lifecycle events their room.
      yield* emit(lobby, "l4")
      expect(lobby.counters).toMatchObject({ unacknowledged: 2, queued: 2, dropped: 1 })
    }))
})
