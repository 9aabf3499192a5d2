/** What vhosts do by themselves, when time has passed. */
import { describe, expect, it } from "@effect/vitest"
import { Clock, type Duration, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import type { Worker } from "../../../src/server/engine/Lobby.ts"
import * as Vhosts from "../../../src/server/engine/Vhosts.ts"
import { settings } from "../../harness/engine.ts"
import { loggingWorker } from "../../harness/loggingWorker.ts"

const token = "0123456789abcdef0123456789abcdef01234567"

const make = (options?: BrokerConfig.Options) => Effect.provide(Vhosts.make, settings(options))

describe("Vhosts", () => {
  it.effect("logs the first problem of a kind at once, and later ones as a count", () =>
    Effect.gen(function*() {
      const said: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ message }) => void said.push(message))])
      yield* Effect.gen(function*() {
        const vhosts = yield* make({
          vhosts: [{ path: "/test" }],
          queue: { capacity: 2 },
          deadLetters: { capacity: 1 }
        })
        const { deadLetters, lobby } = yield* vhosts.get("/test")
        const trigger = (times: number) => Effect.replicateEffect(Effect.ignore(lobby.enqueue("{}")), times)
        const die = (id: string) => deadLetters.add({ id, json: "{}", origin: undefined, attempts: 1, reason: "" })
        yield* TestClock.adjust("1 second")
        expect(said).toEqual([])
        yield* trigger(3)
        yield* die("a")
        yield* TestClock.adjust("500 millis")
        expect(said.splice(0).flat()).toEqual([
          "The vhost /test has rejected 1 trigger: its queue is full",
          "The vhost /test has 1 new dead letter: see kosmonaut dead-letters list"
        ])
        yield* trigger(4)
        yield* TestClock.adjust("5 seconds")
        yield* trigger(1)
        yield* die("b")
        yield* TestClock.adjust("500 millis")
        expect(said.splice(0).flat()).toEqual([
          "The vhost /test has dropped 1 dead letter, the oldest: there are too many"
        ])
        yield* TestClock.adjust("10 seconds")
        expect(said.splice(0).flat()).toEqual([
          "The vhost /test has rejected 5 triggers: its queue is full",
          "The vhost /test has 1 new dead letter: see kosmonaut dead-letters list"
        ])
      }).pipe(Effect.scoped, Effect.provide(logger))
    }))

  it.effect("expires no worker because the broker was paused, but one that sends no heartbeats", () =>
    Effect.gen(function*() {
      const clock = yield* lateClock
      yield* Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token }] })
        const { lobby } = yield* vhosts.get("/test")
        const log: Array<string> = []
        yield* lobby.register(loggingWorker("a", log))
        yield* lobby.register(loggingWorker("b", log))
        yield* clock.wakeAfter(500)
        // The process stood still, twice in a row. What the workers have sent meanwhile is only read now.
        yield* clock.wakeAfter(10_000)
        yield* clock.wakeAfter(10_000)
        expect(yield* lobby.heartbeat("a")).toBe(true)
        expect(log).toEqual([])
        yield* clock.wakeAfter(1)
        yield* clock.wakeAfter(500)
        expect(log).toEqual(["dismissed b"])
        // Where every tick is late, the silent are expired as well.
        for (let n = 0; n < 4; n++) yield* clock.wakeAfter(1000)
        expect(log).toEqual(["dismissed b", "dismissed a"])
      }).pipe(Effect.provideService(Clock.Clock, clock.clock), Effect.scoped)
    }))

  it.effect("measures durations by a clock that cannot be set", () =>
    Effect.gen(function*() {
      const usual = yield* Clock.Clock
      const wall = { hours: 0 }
      const millis = () => usual.currentTimeMillisUnsafe() + wall.hours * 3_600_000
      const clock = Object.assign(Object.create(usual) as Clock.Clock, {
        currentTimeMillisUnsafe: millis,
        currentTimeMillis: Effect.sync(millis)
      })
      yield* Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token }], queue: { redeliveryBackoff: "1 second" } })
        const { lobby } = yield* vhosts.get("/test")
        const log: Array<string> = []
        yield* lobby.register(loggingWorker("silent", log))
        wall.hours = -1
        yield* TestClock.adjust("2 seconds")
        expect(log).toEqual(["dismissed silent"])
        const failing = { ...loggingWorker("failing", log), prefetch: 1, maxAttempts: 2 }
        const given: Array<string> = []
        yield* lobby.register({
          ...failing,
          deliverUnsafe: (_json, _origin, settled, delivery) => {
            given.push(delivery!.id)
            settled(true)
          }
        })
        yield* lobby.enqueue("{}")
        lobby.nackUnsafe("failing", failing.connection, given[0]!, "it failed")
        yield* TestClock.adjust("999 millis")
        yield* lobby.heartbeat("failing")
        expect(given.length).toBe(1)
        yield* TestClock.adjust("1 millis")
        expect(given.length).toBe(2)
      }).pipe(Effect.provideService(Clock.Clock, clock), Effect.scoped)
    }))

  it.effect("redelivers when the earliest backoff of all vhosts ends", () =>
    Effect.gen(function*() {
      const vhosts = yield* make({
        vhosts: [{ path: "/a" }, { path: "/b" }],
        queue: { redeliveryBackoff: "100 millis" }
      })
      const given: Array<string> = []
      const failing = (id: string) => {
        const deliveries: Array<string> = []
        const one: Worker = {
          ...loggingWorker(id, []),
          prefetch: 10,
          maxAttempts: 100,
          deliverUnsafe: (json, _origin, settled, delivery) => {
            given.push(json)
            deliveries.push(delivery!.id)
            settled(true)
          }
        }
        return {
          one,
          fail: (lobby: Vhosts.Vhost["lobby"]) =>
            Effect.sync(() => lobby.nackUnsafe(id, one.connection, deliveries.at(-1)!, "it failed"))
        }
      }
      const [a, b] = [(yield* vhosts.get("/a")).lobby, (yield* vhosts.get("/b")).lobby]
      const [inA, inB] = [failing("a"), failing("b")]
      yield* a.register(inA.one)
      yield* b.register(inB.one)
      yield* a.enqueue("a")
      yield* b.enqueue("b")
      // The second failure of one waits 200 milliseconds, the first of the other, which comes later, 100.
      yield* inA.fail(a)
      yield* TestClock.adjust("100 millis")
      yield* inA.fail(a)
      yield* TestClock.adjust("50 millis")
      yield* inB.fail(b)
      expect(given.splice(0)).toEqual(["a", "b", "a"])
      yield* TestClock.adjust("99 millis")
      expect(given).toEqual([])
      yield* TestClock.adjust("1 millis")
      expect(given).toEqual(["b"])
      yield* TestClock.adjust("50 millis")
      expect(given).toEqual(["b", "a"])
    }).pipe(Effect.scoped))

  it.effect("does nothing while there is nothing to do", () =>
    Effect.gen(function*() {
      const usual = yield* Clock.Clock
      let sleeps = 0
      const clock = Object.assign(Object.create(usual) as Clock.Clock, {
        sleep: (duration: Duration.Duration) => Effect.suspend(() => (sleeps++, usual.sleep(duration)))
      })
      yield* Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token }], queue: { lifecycleRetention: "10 seconds" } })
        const { lobby } = yield* vhosts.get("/test")
        yield* TestClock.adjust("1 day")
        expect(sleeps).toBe(0)
        yield* lobby.register({ ...loggingWorker("a", []), lifecycle: true })
        yield* lobby.leave("a")
        yield* TestClock.adjust("1 day")
        // As long as lifecycle events are queued.
        expect(sleeps).toBeLessThan(25)
        sleeps = 0
        yield* lobby.register(loggingWorker("b", []))
        yield* TestClock.adjust("5 seconds")
        expect(sleeps).toBeGreaterThan(0)
      }).pipe(Effect.provideService(Clock.Clock, clock), Effect.scoped)
    }))

  it.effect("logs a defect in the background as an error, and goes on, for the other vhosts at once", () =>
    Effect.gen(function*() {
      const said: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ logLevel, message }) => void said.push([logLevel, message]))])
      yield* Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/a" }, { path: "/b" }] })
        const log: Array<string> = []
        const broken = { ...loggingWorker("broken", log), heartbeatUnsafe: () => {} }
        yield* (yield* vhosts.get("/a")).lobby.register(broken)
        yield* (yield* vhosts.get("/b")).lobby.register(loggingWorker("b", log))
        broken.heartbeatUnsafe = () => {
          throw new Error("no heart")
        }
        yield* TestClock.adjust("2 seconds")
        expect(said[0]).toMatchObject(["Error", ["The vhost /a has failed", { message: "no heart" }]])
        expect(log).toContain("dismissed b")
      }).pipe(Effect.scoped, Effect.provide(logger))
    }))
})

/** A clock that wakes who sleeps whenever it is told, however long they wanted to. */
const lateClock = Effect.sync(() => {
  let now = 0
  let sleepers: Array<() => void> = []
  const nanos = () => BigInt(now) * 1_000_000n
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: () => Effect.callback((resume) => void sleepers.push(() => resume(Effect.void)))
  }
  const wakeAfter = (millis: number) =>
    Effect.gen(function*() {
      now += millis
      const woken = sleepers
      sleepers = []
      for (const wake of woken) wake()
      yield* Effect.replicateEffect(Effect.yieldNow, 3)
    })
  return { clock, wakeAfter }
})
