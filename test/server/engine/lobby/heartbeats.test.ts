import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { enqueue, make, makeWithoutHeartbeats, tickAfter, worker } from "../../../harness/lobby.ts"

describe("Lobby, heartbeats", () => {
  it.effect("are sent to a new worker before its first event", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      yield* enqueue(lobby, "e0")
      const a = worker("a")
      yield* lobby.register(a)
      expect(a.log).toEqual(["heartbeat", "e0"])
    }))

  it.effect("let a worker that does not ack receive events from its first one on, which is not answered", () =>
    Effect.gen(function*() {
      const lobby = yield* makeWithoutHeartbeats()
      yield* enqueue(lobby, "e0")
      const [a, acks] = [worker("a"), worker("acks", { prefetch: 1 })]
      yield* lobby.register(a)
      yield* enqueue(lobby, "e1")
      // Neither registering again nor an early tick counts as its heartbeat.
      yield* lobby.register(a)
      yield* tickAfter(lobby, 200)
      expect(a.log).toEqual(["heartbeat", "heartbeat"])
      yield* lobby.heartbeat("a")
      expect(a.log.splice(0)).toEqual(["heartbeat", "heartbeat", "e0", "e1"])
      yield* lobby.heartbeat("a")
      yield* lobby.register(a)
      yield* enqueue(lobby, "e2")
      expect(a.log).toEqual(["heartbeat", "heartbeat", "e2"])
      // One that acks needs no such order: its first heartbeat is answered.
      yield* lobby.register(acks)
      yield* lobby.heartbeat("acks")
      expect(acks.log).toEqual(["heartbeat", "heartbeat"])
      // On a new connection it needs a first heartbeat again.
      const again = worker("a")
      yield* lobby.leave("acks")
      yield* lobby.register(again)
      yield* enqueue(lobby, "e3")
      expect(again.log).toEqual(["heartbeat"])
      yield* lobby.heartbeat("a", again.connection)
      expect(again.log).toEqual(["heartbeat", "e3"])
      yield* lobby.leave("a")
      // Without a heartbeat it receives events after one interval, and no heartbeat with them.
      const silent = worker("silent")
      yield* lobby.register(silent)
      yield* enqueue(lobby, "e4")
      yield* tickAfter(lobby, 500)
      expect(silent.log).toEqual(["heartbeat", "e4"])
      yield* tickAfter(lobby, 500)
      expect(silent.log).toEqual(["heartbeat", "e4", "heartbeat"])
    }))

  it.effect("are answered with one each", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.register(a)
      yield* lobby.register(b)
      yield* lobby.heartbeat("a")
      yield* lobby.heartbeat("a")
      expect(a.log).toEqual(["heartbeat", "heartbeat", "heartbeat"])
      expect(b.log).toEqual(["heartbeat"])
    }))

  it.effect("are sent to an idle worker at every tick; after three missed ones it expires", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      for (let tick = 1; tick <= 3; tick++) {
        yield* tickAfter(lobby, 500)
        expect(a.log.length).toBe(1 + tick)
      }
      yield* tickAfter(lobby, 500)
      expect(a.log).toEqual(["heartbeat", "heartbeat", "heartbeat", "heartbeat", "dismissed"])
      expect(yield* lobby.heartbeat("a")).toBe(false)
      yield* tickAfter(lobby, 500)
      expect(a.log.length).toBe(5)
    }))

  it.effect("keep a worker alive, and so does registering again", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.register(a)
      yield* lobby.register(b)
      for (let i = 0; i < 10; i++) {
        yield* tickAfter(lobby, 1500)
        yield* lobby.heartbeat("a")
        yield* lobby.register(b)
      }
      expect([...a.log, ...b.log]).not.toContain("dismissed")
      expect((yield* lobby.info).workers.length).toBe(2)
    }))

  it.effect("are not replaced by deliveries: a worker that sends nothing expires", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a", { isSent: true })
      yield* lobby.register(a)
      for (let i = 0; i < 4; i++) {
        yield* enqueue(lobby, `e${i}`)
        yield* tickAfter(lobby, 500)
      }
      expect(a.log.at(-1)).toBe("dismissed")
    }))

  it.effect("are sent only as answers to a worker that sends its own", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      for (let i = 0; i < 10; i++) {
        yield* TestClock.adjust(400)
        yield* lobby.heartbeat("a")
        yield* tickAfter(lobby, 100)
      }
      expect(a.log.length).toBe(11)
    }))

  it.effect("are sent once an interval even if the lobby is ticked more often", () =>
    Effect.gen(function*() {
      // Two backend endpoints of one broker tick the same lobby.
      const lobby = yield* make()
      const a = worker("a")
      yield* lobby.register(a)
      for (let i = 0; i < 3; i++) {
        yield* tickAfter(lobby, 400)
        yield* tickAfter(lobby, 100)
      }
      expect(a.log.length).toBe(4)
    }))
})
