import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as StoredVhosts from "../../../../src/server/engine/internal/storedVhosts.ts"
import type * as Lobby from "../../../../src/server/engine/Lobby.ts"
import * as FakeJournal from "../../../harness/FakeJournal.ts"
import {
  ack,
  deliveriesOf,
  enqueue,
  firstAttempts,
  make,
  numbers,
  release,
  tickAfter,
  worker
} from "../../../harness/lobby.ts"

describe("Lobby, an event that could not be sent", () => {
  it.effect("is sent to another worker, and the first receives nothing until its next heartbeat", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.register(a)
      yield* lobby.register(b)
      yield* enqueue(lobby, "e0")
      a.pending[0]!.sent(false)
      expect(b.received).toEqual(["e0"])
      yield* enqueue(lobby, "e1", "e2")
      expect([a.received, b.received]).toEqual([["e0"], ["e0", "e1", "e2"]])
      yield* lobby.heartbeat("a")
      yield* enqueue(lobby, "e3", "e4")
      expect([a.received, b.received]).toEqual([["e0", "e3"], ["e0", "e1", "e2", "e4"]])
    }))

  it.effect.each<[string, ReadonlyArray<number>]>([
    ["first to last", [0, 1, 2, 3]],
    ["last to first", [3, 2, 1, 0]],
    ["from the middle", [1, 3, 0, 2]]
  ])("is requeued at its old position, failing %s", ([_, order]) =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      yield* enqueue(lobby, ...numbers(0, 4))
      const pending = [...a.pending]
      pending[order[0]!]!.sent(false)
      // Later events are queued behind them.
      yield* enqueue(lobby, "e4", "e5")
      for (const index of order.slice(1)) pending[index]!.sent(false)
      expect((yield* lobby.info).queued).toBe(6)
      const b = worker("b")
      yield* lobby.register(b)
      expect(b.received).toEqual(numbers(0, 6))
    }))

  it.effect("is sent to the same worker after its next heartbeat", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      yield* enqueue(lobby, "e0", "e1")
      a.pending[1]!.sent(false)
      a.pending[0]!.sent(false)
      expect(a.received).toEqual(["e0", "e1"])
      yield* lobby.heartbeat("a")
      expect(a.received).toEqual(["e0", "e1", "e0", "e1"])
      expect((yield* lobby.info).queued).toBe(0)
    }))

  it.effect("is sent to the next worker if that is known at once", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const broken = Array.from({ length: 5 }, (_, index) => worker(`broken${index}`, { isSent: false }))
      yield* Effect.forEach(broken, lobby.register)
      yield* enqueue(lobby, "e0", "e1")
      expect((yield* lobby.info).queued).toBe(2)
      const a = worker("a")
      yield* lobby.register(a)
      expect(a.received).toEqual(["e0", "e1"])
      expect(broken.map(({ received }) => received)).toEqual(broken.map(() => ["e0"]))
    }))

  it.effect("is sent to another worker if the first has left, expired or been replaced meanwhile", () =>
    Effect.gen(function*() {
      for (const go of ["leave", "expire", "replace"] as const) {
        const lobby = yield* make()
        const [a, b, again] = [worker("a"), worker("b"), worker("a")]
        yield* lobby.register(a)
        yield* enqueue(lobby, "e0", "e1")
        if (go === "leave") yield* lobby.leave("a")
        if (go === "replace") yield* lobby.register(again)
        if (go === "expire") {
          yield* tickAfter(lobby, 2000)
        }
        yield* lobby.register(b)
        const [first, second] = a.pending
        second!.sent(true)
        first!.sent(false)
        expect([...again.received, ...b.received]).toEqual(["e0"])
        expect((yield* lobby.info).queued).toBe(0)
      }
    }))

  it.effect("may have a defect of the connection as its cause, which is reported", () =>
    Effect.gen(function*() {
      const defects: Array<unknown> = []
      const lobby = yield* make({ onDefect: (defect) => void defects.push(defect) })
      const defect = new Error("no socket")
      const broken: Lobby.Worker = {
        ...worker("broken", { prefetch: 10 }),
        deliverUnsafe: () => {
          throw defect
        }
      }
      const a = worker("a", { prefetch: 10, isSent: true })
      yield* lobby.register(broken)
      yield* enqueue(lobby, "e0", "e1")
      expect([defects, (yield* lobby.info).queued]).toEqual([[defect], 2])
      yield* lobby.register(a)
      expect(a.deliveries.map((delivery) => delivery!.attempt)).toEqual([1, 1])
    }))

  it.effect("does not count as an attempt", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { prefetch: 10 }), worker("b", { prefetch: 10 })]
      yield* Effect.forEach([a, b], lobby.register)
      yield* enqueue(lobby, "e0", "e1")
      a.pending[0]!.sent(false)
      expect([deliveriesOf(a), deliveriesOf(b)]).toEqual([[["e0", 1]], [["e1", 1], ["e0", 1]]])
      expect(lobby.counters).toMatchObject({ unacknowledged: 2, redelivered: 0, delivered: 0 })
      // It receives nothing before its next heartbeat.
      yield* enqueue(lobby, "e2")
      expect(a.received.length).toBe(1)
      yield* lobby.heartbeat("a")
      yield* enqueue(lobby, "e3")
      expect(deliveriesOf(a)).toEqual([["e0", 1], ["e3", 1]])
      yield* ack(lobby, a, "e0")
      expect(lobby.counters).toMatchObject({ unacknowledged: 4, acknowledged: 0 })
    }))

  it.effect("does not count as an attempt if that is known at once", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const broken = worker("broken", { prefetch: 10, isSent: false })
      const a = worker("a", { prefetch: 10, isSent: true })
      yield* lobby.register(broken)
      yield* enqueue(lobby, "e0", "e1")
      expect(lobby.counters).toMatchObject({ unacknowledged: 0, queued: 2, redelivered: 0 })
      yield* lobby.register(a)
      expect([deliveriesOf(broken), deliveriesOf(a)]).toEqual([[["e0", 1]], firstAttempts(0, 2)])
    }))

  it.effect("is recorded without that attempt", () =>
    Effect.gen(function*() {
      const journal = FakeJournal.make()
      const lobby = yield* make({ journal })
      const a = worker("a", { prefetch: 10 })
      yield* lobby.register(a)
      yield* enqueue(lobby, `{"e0":{}}`)
      const recorded = () => StoredVhosts.eventsOf(journal.entries())
      expect(recorded()).toMatchObject([{ attempts: 1 }])
      a.pending[0]!.sent(false)
      expect(recorded()).toMatchObject([{ attempts: 0 }])
    }))

  it.effect("is redelivered once if its worker is gone, and never if it was acked", () =>
    Effect.gen(function*() {
      for (const go of ["leave", "replace", "ack", "release"] as const) {
        const lobby = yield* make()
        const connection = {}
        const a = worker("a", { prefetch: 1, connection })
        const next = worker(go === "replace" ? "a" : "b", { prefetch: 10, isSent: true })
        yield* lobby.register(a)
        yield* lobby.enqueue("e0")
        const { sent } = a.pending[0]!
        if (go === "leave") yield* lobby.leave("a")
        if (go === "ack") yield* ack(lobby, a, "e0")
        // It is redelivered to the same worker.
        if (go === "release") yield* release(lobby, a, "e0")
        yield* lobby.register(next)
        sent(false)
        if (go === "ack") expect([deliveriesOf(next), (yield* lobby.info).queued]).toEqual([[], 0])
        else if (go === "release") expect([deliveriesOf(a), deliveriesOf(next)]).toEqual([[["e0", 1], ["e0", 2]], []])
        else expect(deliveriesOf(next)).toEqual([["e0", 2]])
        expect(lobby.counters.unacknowledged).toBe(go === "ack" ? 0 : 1)
      }
    }))
})
