import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  ack,
  deliveriesOf,
  enqueue,
  firstAttempts,
  idOf,
  make,
  makeDeadLetters,
  numbers,
  worker
} from "../../../harness/lobby.ts"

describe("Lobby, acks", () => {
  it.effect("an event is unacked until its worker acks it, and redelivered if the worker leaves before", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { prefetch: 10, isSent: true }), worker("b", { prefetch: 10, isSent: true })]
      yield* lobby.register(a)
      yield* enqueue(lobby, ...numbers(0, 5))
      expect(deliveriesOf(a)).toEqual(firstAttempts(0, 5))
      expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 5, acknowledged: 0 })
      yield* ack(lobby, a, "e3", "e1")
      expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 3, acknowledged: 2 })
      yield* lobby.leave("a")
      expect(lobby.counters).toMatchObject({ queued: 3, unacknowledged: 0, redelivered: 3 })
      yield* lobby.register(b)
      expect(deliveriesOf(b)).toEqual([["e0", 2], ["e2", 2], ["e4", 2]])
      yield* ack(lobby, b, "e0", "e2", "e4")
      expect(lobby.counters).toMatchObject({
        accepted: 5,
        delivered: 8,
        refused: 0,
        dropped: 0,
        acknowledged: 5,
        redelivered: 3,
        unacknowledged: 0,
        queued: 0,
        workers: 1
      })
    }))

  it.effect("acks and nacks of deliveries that the worker does not hold on this connection are ignored", () =>
    Effect.gen(function*() {
      const deadLetters = yield* makeDeadLetters
      const lobby = yield* make({ deadLetters })
      const old = worker("a", { prefetch: 1, isSent: true })
      const a = worker("a", { prefetch: 2, isSent: true })
      const b = worker("b", { prefetch: 2, isSent: true })
      yield* lobby.register(old)
      yield* lobby.enqueue("e0")
      yield* lobby.register(b)
      yield* lobby.enqueue("e1")
      yield* lobby.register(a)
      yield* lobby.enqueue("e2")
      yield* ack(lobby, b, "e1")
      expect([a.received, b.received]).toEqual([["e0"], ["e1", "e2"]])
      const [e0, e1, e2] = [idOf(a, "e0"), idOf(b, "e1"), idOf(b, "e2")]
      const before = { ...lobby.counters }
      const none: ReadonlyArray<readonly [id: string, connection: unknown, delivery: string]> = [
        // Held by another worker, or sent on an old, an unknown or another worker's connection.
        ["a", a.connection, e2],
        ["b", b.connection, e0],
        ["a", old.connection, e0],
        ["a", {}, e0],
        ["a", b.connection, e0],
        ["c", a.connection, e0],
        // Acked already, or never delivered.
        ["b", b.connection, e1],
        ["a", a.connection, ""],
        ["a", a.connection, "e0"],
        ["a", a.connection, `${e0}0`],
        ["a", a.connection, "__proto__"]
      ]
      for (const [id, connection, delivery] of none) {
        lobby.ackUnsafe(id, connection, [delivery, delivery])
        lobby.nackUnsafe(id, connection, delivery, "")
        lobby.nackUnsafe(id, connection, delivery, "it failed")
      }
      lobby.ackUnsafe("a", a.connection, [])
      expect(lobby.counters).toEqual(before)
      expect([a.received, b.received, yield* deadLetters.list]).toEqual([["e0"], ["e1", "e2"], []])
      // Those that are ignored do not stop the others, and an ack sent twice counts once.
      lobby.ackUnsafe("a", a.connection, ["", e2, e0, e0])
      expect(lobby.counters).toMatchObject({ acknowledged: 2, unacknowledged: 1 })
    }))
})
