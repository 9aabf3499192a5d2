import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { enqueue, make, numbers, tickAfter, worker } from "../../../harness/lobby.ts"

describe("Lobby, workers", () => {
  it.effect("are known from their registration until they leave", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      expect(yield* lobby.heartbeat("a")).toBe(false)
      yield* lobby.register(worker("a"))
      expect(yield* lobby.heartbeat("a")).toBe(true)
      expect(yield* lobby.heartbeat("b")).toBe(false)
      expect(yield* lobby.heartbeat("b", {})).toBe(false)
      yield* lobby.leave("a")
      expect(yield* lobby.heartbeat("a")).toBe(false)
      yield* lobby.leave("a")
      expect((yield* lobby.info).workers).toEqual([])
    }))

  it.effect("keep their turn if they register again on the same connection", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.register(a)
      yield* lobby.register(b)
      yield* enqueue(lobby, "e0")
      yield* lobby.register(a)
      yield* enqueue(lobby, "e1", "e2")
      expect([a.received, b.received]).toEqual([["e0", "e2"], ["e1"]])
      expect((yield* lobby.info).workers.length).toBe(2)
      expect(a.log).not.toContain("dismissed")
    }))

  it.effect("receive everything on their new connection if they reconnect", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [old, fresh] = [worker("a"), worker("a")]
      yield* lobby.register(old)
      yield* enqueue(lobby, "e0")
      yield* lobby.register(fresh)
      yield* enqueue(lobby, "e1", "e2")
      expect([old.received, fresh.received]).toEqual([["e0"], ["e1", "e2"]])
      expect((yield* lobby.info).workers).toEqual(["a"])
      yield* lobby.heartbeat("a")
      expect([old.log.filter((entry) => entry === "heartbeat").length, fresh.log]).toEqual([
        1,
        ["heartbeat", "e1", "e2", "heartbeat"]
      ])
    }))

  it.effect("start anew on their new connection, whatever was unsent on the old one", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [old, fresh] = [worker("a"), worker("a")]
      yield* lobby.register(old)
      yield* enqueue(lobby, ...numbers(0, 64))
      yield* lobby.register(fresh)
      // None of the 64 counts as unsent on the new connection.
      yield* enqueue(lobby, "e64")
      expect(fresh.received).toEqual(["e64"])
      // An event that failed on the old connection is sent on the new one at once.
      old.pending[0]!.sent(false)
      expect(fresh.received).toEqual(["e64", "e0"])
    }))

  it.effect("are alive by heartbeats on their current connection alone", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [old, fresh] = [worker("a"), worker("a")]
      yield* lobby.register(old)
      yield* lobby.register(fresh)
      expect(yield* lobby.heartbeat("a", old.connection)).toBe(false)
      expect(yield* lobby.heartbeat("a", fresh.connection)).toBe(true)
      expect([old.log, fresh.log]).toEqual([["heartbeat"], ["heartbeat", "heartbeat"]])
      // Heartbeats on the old connection keep nobody alive.
      yield* tickAfter(lobby, 1500)
      yield* lobby.heartbeat("a", old.connection)
      yield* tickAfter(lobby, 500)
      expect([old.log.at(-1), fresh.log.at(-1)]).toEqual(["heartbeat", "dismissed"])
    }))

  it.effect("leave with the end of their current connection alone", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [old, fresh] = [worker("a"), worker("a")]
      yield* lobby.register(old)
      yield* lobby.register(fresh)
      yield* lobby.leave("a", old.connection)
      expect((yield* lobby.info).workers).toEqual(["a"])
      yield* lobby.leave("b", fresh.connection)
      expect((yield* lobby.info).workers).toEqual(["a"])
      yield* lobby.leave("a", fresh.connection)
      expect((yield* lobby.info).workers).toEqual([])
      expect([...old.log, ...fresh.log]).not.toContain("dismissed")
    }))

  it.effect("of one endpoint are dismissed, and their events are redelivered to the others", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { prefetch: 2, isSent: true }), worker("b", { prefetch: 2, isSent: true })]
      yield* Effect.forEach([a, b], lobby.register)
      yield* enqueue(lobby, "e0", "e1")
      yield* lobby.dismissWhere(({ connection }) => connection === a.connection)
      expect([a.log, b.log]).toEqual([["heartbeat", "e0", "dismissed"], ["heartbeat", "e1", "e0"]])
      expect((yield* lobby.info).workers).toEqual(["b"])
    }))

  it.effect("are all dismissed, even if one of them fails or never ends", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b, c] = [worker("a"), worker("b"), worker("c")]
      yield* lobby.register({ ...a, dismiss: Effect.never })
      yield* lobby.register({ ...b, dismiss: Effect.die("no goodbye") })
      yield* lobby.register(c)
      yield* tickAfter(lobby, 1500)
      yield* TestClock.adjust(500)
      const ticking = yield* Effect.forkChild(lobby.tick)
      yield* TestClock.adjust(499)
      expect([c.log.at(-1), ticking.pollUnsafe()]).toEqual(["dismissed", undefined])
      // The lobby waits for a dismissal no longer than one interval.
      yield* TestClock.adjust(1)
      yield* Fiber.join(ticking)
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("are all dismissed, and later events are queued", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const all = [worker("a"), worker("b")]
      yield* Effect.forEach(all, lobby.register)
      yield* lobby.dismissAll
      expect(all.map(({ log }) => log)).toEqual([["heartbeat", "dismissed"], ["heartbeat", "dismissed"]])
      expect((yield* lobby.info).workers).toEqual([])
      yield* enqueue(lobby, "e0")
      expect((yield* lobby.info).queued).toBe(1)
      yield* lobby.dismissAll
      expect(all[0]!.log.length).toBe(2)
    }))
})
