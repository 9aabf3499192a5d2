import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Duration, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import type { Delivery } from "../../../src/protocol/Trigger.ts"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import * as Lobby from "../../../src/server/engine/Lobby.ts"
import * as FakeJournal from "../../harness/FakeJournal.ts"
import { int, oneOf, pick } from "../../protocol/arbitraries.ts"

const makeRaw = (options?: Partial<Parameters<typeof Lobby.make>[0]>) =>
  Effect.map(Clock.Clock, (clock) =>
    Lobby.make({
      queueCapacity: 10_000,
      heartbeatInterval: Duration.millis(500),
      missedHeartbeats: 3,
      lifecycleRetention: Duration.minutes(1),
      maxMessageSize: 1_048_576,
      queueSize: 64 * 1_048_576,
      maxDeliveries: Infinity,
      redeliveryBackoff: Duration.zero,
      deadLetters: DeadLetters.make({ deadLetterCapacity: 1000, deadLetterSize: 16 * 1_048_576, clock }),
      clock,
      ...options
    }))

/** A lobby whose workers that do not ack send a heartbeat when they join, so that they are given events at once. */
const make = (options?: Parameters<typeof makeRaw>[0]) =>
  Effect.map(makeRaw(options), (lobby): Lobby.Lobby => ({
    ...lobby,
    counters: lobby.counters,
    register: (worker) =>
      Effect.andThen(
        lobby.register(worker),
        worker.prefetch === undefined ? lobby.heartbeat(worker.id, worker.connection) : Effect.void
      )
  }))

const makeDeadLetters = Effect.map(
  Clock.Clock,
  (clock) => DeadLetters.make({ deadLetterCapacity: 10, deadLetterSize: 1000, clock })
)

/** Ticks as often as they are due in this time, and at its end. */
const tickAfter = (lobby: Lobby.Lobby, millis: number): Effect.Effect<void> =>
  millis <= 500
    ? Effect.andThen(TestClock.adjust(millis), lobby.tick)
    : Effect.andThen(tickAfter(lobby, 500), tickAfter(lobby, millis - 500))

interface FakeWorker extends Lobby.Worker {
  /** What it was given and has not settled. */
  readonly unsettled: Array<{ readonly json: string; readonly settle: (delivered: boolean) => void }>
  /** Everything it was given, in order. */
  readonly given: Array<string>
  /** Where that came from. */
  readonly origins: Array<string | undefined>
  /** As which deliveries. */
  readonly deliveries: Array<Delivery | undefined>
  /** What happened to it, in order. */
  readonly log: Array<string>
}

/** A worker that keeps what it is given in hand, or settles it at once. */
const worker = (id: string, options?: {
  readonly connection?: object
  readonly settles?: boolean
  readonly lifecycle?: boolean
  readonly prefetch?: number
  readonly maxAttempts?: number
}): FakeWorker => {
  const self: FakeWorker = {
    id,
    connection: options?.connection ?? {},
    lifecycle: options?.lifecycle === true,
    prefetch: options?.prefetch,
    maxAttempts: options?.maxAttempts ?? 1,
    unsettled: [],
    given: [],
    origins: [],
    deliveries: [],
    log: [],
    deliverUnsafe: (json, origin, settled, delivery) => {
      self.given.push(json)
      self.origins.push(origin)
      self.deliveries.push(delivery)
      self.log.push(json)
      if (options?.settles !== undefined) return settled(options.settles)
      self.unsettled.push({
        json,
        settle: (delivered) => {
          self.unsettled.splice(self.unsettled.findIndex((event) => event.json === json), 1)
          settled(delivered)
        }
      })
    },
    heartbeatUnsafe: () => void self.log.push("heartbeat"),
    dismiss: Effect.sync(() => void self.log.push("dismissed"))
  }
  return self
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `e${from + index}`)

const trigger = (lobby: Lobby.Lobby, ...events: ReadonlyArray<string>) =>
  Effect.forEach(events, (event) => lobby.enqueue(event), { discard: true })

/** What happens by itself, and the text of it. */
const announce = (lobby: Lobby.Lobby, ...events: ReadonlyArray<string>) =>
  Effect.sync(() => {
    for (const event of events) lobby.emitUnsafe({ event, data: {} })
  })

const texts = (...events: ReadonlyArray<string>) => events.map((event) => `{"${event}":{}}`)

describe("Lobby", () => {
  describe("handing over", () => {
    it.effect("keeps events while nobody is there, and gives them in order to who comes", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        yield* trigger(lobby, ...numbers(0, 10))
        expect(yield* lobby.info).toEqual({ queued: 10, workers: [] })
        const a = worker("a")
        yield* lobby.register(a)
        expect(a.given).toEqual(numbers(0, 10))
        expect(yield* lobby.info).toEqual({ queued: 0, workers: ["a"] })
      }))

    it.effect("gives a worker that does not ack events after its own first heartbeat, which is not answered again", () =>
      Effect.gen(function*() {
        const lobby = yield* makeRaw()
        yield* trigger(lobby, "e0")
        const [a, acks] = [worker("a"), worker("acks", { prefetch: 1 })]
        yield* lobby.register(a)
        yield* trigger(lobby, "e1")
        // Neither when it says again that it is ready, nor at a tick that comes soon.
        yield* lobby.register(a)
        yield* tickAfter(lobby, 200)
        expect(a.log).toEqual(["heartbeat", "heartbeat"])
        yield* lobby.heartbeat("a")
        expect(a.log.splice(0)).toEqual(["heartbeat", "heartbeat", "e0", "e1"])
        yield* lobby.heartbeat("a")
        yield* lobby.register(a)
        yield* trigger(lobby, "e2")
        expect(a.log).toEqual(["heartbeat", "heartbeat", "e2"])
        // One that acks knows both apart.
        yield* lobby.register(acks)
        yield* lobby.heartbeat("acks")
        expect(acks.log).toEqual(["heartbeat", "heartbeat"])
        // On a new connection it begins anew.
        const again = worker("a")
        yield* lobby.leave("acks")
        yield* lobby.register(again)
        yield* trigger(lobby, "e3")
        expect(again.log).toEqual(["heartbeat"])
        yield* lobby.heartbeat("a", again.connection)
        expect(again.log).toEqual(["heartbeat", "e3"])
        yield* lobby.leave("a")
        // One that says nothing is given them after a pause, and no heartbeat with them.
        const silent = worker("silent")
        yield* lobby.register(silent)
        yield* trigger(lobby, "e4")
        yield* tickAfter(lobby, 500)
        expect(silent.log).toEqual(["heartbeat", "e4"])
        yield* tickAfter(lobby, 500)
        expect(silent.log).toEqual(["heartbeat", "e4", "heartbeat"])
      }))

    it.effect("greets who comes before it gives anything", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        yield* trigger(lobby, "e0")
        const a = worker("a")
        yield* lobby.register(a)
        expect(a.log).toEqual(["heartbeat", "e0"])
      }))

    it.effect("goes round robin over those that are there", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const all = [worker("a"), worker("b"), worker("c")]
        yield* Effect.forEach(all, lobby.register)
        yield* trigger(lobby, ...numbers(0, 7))
        expect(all.map(({ given }) => given)).toEqual([["e0", "e3", "e6"], ["e1", "e4"], ["e2", "e5"]])
        yield* lobby.leave("b")
        yield* trigger(lobby, ...numbers(7, 11))
        expect(all.map(({ given }) => given.slice(2))).toEqual([["e6", "e8", "e10"], [], ["e7", "e9"]])
      }))

    it.effect("goes on when the first, the last and the only worker leave", () =>
      Effect.gen(function*() {
        // The original's ring spun for ever after the first had left.
        const lobby = yield* make()
        const [a, b, c] = [worker("a"), worker("b"), worker("c")]
        yield* lobby.register(a)
        yield* lobby.leave("a")
        yield* trigger(lobby, "e0")
        yield* Effect.forEach([b, c], lobby.register)
        yield* trigger(lobby, "e1", "e2")
        yield* lobby.leave("c")
        yield* trigger(lobby, "e3")
        expect([a.given, b.given, c.given]).toEqual([[], ["e0", "e1", "e3"], ["e2"]])
      }))

    it.effect("has at most 64 events on their way to one worker, and goes past it to the others", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const slow = worker("slow")
        yield* lobby.register(slow)
        yield* trigger(lobby, ...numbers(0, 70))
        expect(slow.given).toEqual(numbers(0, 64))
        expect((yield* lobby.info).queued).toBe(6)
        const quick = worker("quick", { settles: true })
        yield* lobby.register(quick)
        expect(quick.given).toEqual(numbers(64, 70))
        yield* trigger(lobby, "e70")
        expect(quick.given.at(-1)).toBe("e70")
        // One that settles makes room for one.
        slow.unsettled[0]!.settle(true)
        yield* trigger(lobby, "e71", "e72")
        expect([slow.given.slice(64), quick.given.slice(7)]).toEqual([["e71"], ["e72"]])
      }))

    it.effect("gives the next one as soon as there is room, without being asked", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const a = worker("a")
        yield* lobby.register(a)
        yield* trigger(lobby, ...numbers(0, 66))
        a.unsettled[10]!.settle(true)
        a.unsettled[0]!.settle(true)
        expect(a.given).toEqual(numbers(0, 66))
      }))

    it.effect("empties a long line into a worker that settles at once", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        yield* trigger(lobby, ...numbers(0, 10_000))
        const a = worker("a", { settles: true })
        yield* lobby.register(a)
        expect(a.given).toEqual(numbers(0, 10_000))
        expect((yield* lobby.info).queued).toBe(0)
      }))

    it.effect("refuses what is beyond the bound in bytes, or too large for any worker", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueSize: 100, maxMessageSize: 356 })
        yield* lobby.enqueue("x".repeat(60))
        expect((yield* Effect.flip(lobby.enqueue("x".repeat(41)))).code).toBe(597)
        yield* lobby.enqueue("x".repeat(40))
        const a = worker("a", { settles: true })
        yield* lobby.register(a)
        expect((yield* lobby.info).queued).toBe(0)
        expect((yield* Effect.flip(lobby.enqueue("é".repeat(51)))).code).toBe(597)
        yield* lobby.enqueue("x".repeat(100))
        expect(a.given.length).toBe(3)
      }))

    it.effect("refuses what is beyond the bound with 597, and takes events again when there is room", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueCapacity: 3 })
        yield* trigger(lobby, "e0", "e1", "e2")
        const failure = yield* Effect.flip(lobby.enqueue("refused"))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        expect((yield* lobby.info).queued).toBe(3)
        const a = worker("a")
        yield* lobby.register(a)
        yield* trigger(lobby, "e3")
        expect(a.given).toEqual(["e0", "e1", "e2", "e3"])
      }))
  })

  it.effect("refuses what is beyond the limit in bytes with 597, on its way to a worker too, until some are gone", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 20 })
      const [a, b] = [worker("a"), worker("b")]
      yield* trigger(lobby, "12345678", "żżżż")
      expect(yield* Effect.flip(lobby.enqueue("12345"))).toBeInstanceOf(InternalError)
      // What is small enough still fits.
      yield* lobby.enqueue("1234")
      yield* Effect.flip(lobby.enqueue("1"))
      yield* lobby.register(a)
      yield* lobby.leave("a")
      expect(a.given).toEqual(["12345678", "żżżż", "1234"])
      // They may come back.
      yield* Effect.flip(lobby.enqueue("1"))
      for (const { settle } of [...a.unsettled]) settle(false)
      expect((yield* lobby.info).queued).toBe(3)
      yield* Effect.flip(lobby.enqueue("1"))
      yield* lobby.register(b)
      expect(b.given).toEqual(["12345678", "żżżż", "1234"])
      for (const { settle } of [...b.unsettled]) settle(true)
      yield* lobby.leave("b")
      yield* trigger(lobby, "12345678901234567890")
    }))

  it.effect("hands over to who is ready even where nothing may wait", () =>
    Effect.gen(function*() {
      for (const options of [{ queueCapacity: 0 }, { queueSize: 0 }]) {
        const lobby = yield* make(options)
        yield* Effect.flip(lobby.enqueue("e0"))
        const a = worker("a")
        yield* lobby.register(a)
        yield* lobby.enqueue("e1")
        expect(a.given).toEqual(["e1"])
        yield* lobby.leave("a")
        yield* Effect.flip(lobby.enqueue("e2"))
      }
    }))

  it.effect("refuses what a worker's connection could not carry with 597, counted in bytes, whoever is there", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ maxMessageSize: 1000 })
      const a = worker("a")
      // Something of the bound is kept for what a transport puts around.
      const fits = `{"e":{"text":"${"ż".repeat(350)}"}}`
      const doesNot = `{"e":{"text":"${"ż".repeat(493)}"}}`
      for (const join of [Effect.void, lobby.register(a)]) {
        yield* join
        const failure = yield* Effect.flip(lobby.enqueue(doesNot))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        yield* lobby.enqueue(fits)
      }
      expect(a.given).toEqual([fits, fits])
    }))

  describe("a delivery that fails", () => {
    it.effect("goes to another worker, and the one it failed at gets nothing until it is heard", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.register(a)
        yield* lobby.register(b)
        yield* trigger(lobby, "e0")
        a.unsettled[0]!.settle(false)
        expect(b.given).toEqual(["e0"])
        yield* trigger(lobby, "e1", "e2")
        expect([a.given, b.given]).toEqual([["e0"], ["e0", "e1", "e2"]])
        yield* lobby.heartbeat("a")
        yield* trigger(lobby, "e3", "e4")
        expect([a.given, b.given]).toEqual([["e0", "e3"], ["e0", "e1", "e2", "e4"]])
      }))

    it.effect.each<[string, ReadonlyArray<number>]>([
      ["first to last", [0, 1, 2, 3]],
      ["last to first", [3, 2, 1, 0]],
      ["from the middle", [1, 3, 0, 2]]
    ])("goes back to its old place in line, failing %s", ([_, order]) =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const a = worker("a")
        yield* lobby.register(a)
        yield* trigger(lobby, ...numbers(0, 4))
        const unsettled = [...a.unsettled]
        unsettled[order[0]!]!.settle(false)
        // The line goes on behind them.
        yield* trigger(lobby, "e4", "e5")
        for (const index of order.slice(1)) unsettled[index]!.settle(false)
        expect((yield* lobby.info).queued).toBe(6)
        const b = worker("b")
        yield* lobby.register(b)
        expect(b.given).toEqual(numbers(0, 6))
      }))

    it.effect("is given again to the same worker when that is heard", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const a = worker("a")
        yield* lobby.register(a)
        yield* trigger(lobby, "e0", "e1")
        a.unsettled[1]!.settle(false)
        a.unsettled[0]!.settle(false)
        expect(a.given).toEqual(["e0", "e1"])
        yield* lobby.heartbeat("a")
        expect(a.given).toEqual(["e0", "e1", "e0", "e1"])
        expect((yield* lobby.info).queued).toBe(0)
      }))

    it.effect("is given to the others where it fails at once", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const broken = Array.from({ length: 5 }, (_, index) => worker(`broken${index}`, { settles: false }))
        yield* Effect.forEach(broken, lobby.register)
        yield* trigger(lobby, "e0", "e1")
        expect((yield* lobby.info).queued).toBe(2)
        const a = worker("a")
        yield* lobby.register(a)
        expect(a.given).toEqual(["e0", "e1"])
        expect(broken.map(({ given }) => given)).toEqual(broken.map(() => ["e0"]))
      }))

    it.effect("is given to another where the worker has left, been dismissed or been replaced meanwhile", () =>
      Effect.gen(function*() {
        for (const go of ["leave", "expire", "replace"] as const) {
          const lobby = yield* make()
          const [a, b, again] = [worker("a"), worker("b"), worker("a")]
          yield* lobby.register(a)
          yield* trigger(lobby, "e0", "e1")
          if (go === "leave") yield* lobby.leave("a")
          if (go === "replace") yield* lobby.register(again)
          if (go === "expire") {
            yield* tickAfter(lobby, 2000)
          }
          yield* lobby.register(b)
          const [first, second] = a.unsettled
          second!.settle(true)
          first!.settle(false)
          expect([...again.given, ...b.given]).toEqual(["e0"])
          expect((yield* lobby.info).queued).toBe(0)
        }
      }))
  })

  it.effect("takes a worker whose connection throws for one that could not be reached, and says so", () =>
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
      const a = worker("a", { prefetch: 10, settles: true })
      yield* lobby.register(broken)
      yield* trigger(lobby, "e0", "e1")
      expect([defects, (yield* lobby.info).queued]).toEqual([[defect], 2])
      yield* lobby.register(a)
      expect(a.deliveries.map((delivery) => delivery!.attempt)).toEqual([1, 1])
    }))

  it.effect("chooses among many workers without looking at all of them, and hears each for itself", () =>
    Effect.gen(function*() {
      const count = 2000
      const lobby = yield* make()
      let looked = 0
      const all = numbers(0, count).map((id) => {
        const one = worker(id, { prefetch: 5, settles: true })
        return Object.defineProperty(one, "prefetch", { get: () => (looked++, 5) })
      })
      yield* Effect.forEach(all, lobby.register)
      looked = 0
      yield* trigger(lobby, ...numbers(0, count))
      expect(all.every(({ given }) => given.length === 1)).toBe(true)
      // Logarithmic in the number of workers, not linear.
      expect(looked / count).toBeLessThan(100)
      looked = 0
      yield* Effect.forEach(all.slice(0, 100), ({ id }) => lobby.heartbeat(id), { discard: true })
      expect(looked / 100).toBeLessThan(100)
    }))

  it.effect("gives an event with its origin, again too, and counts both against the bounds", () =>
    Effect.gen(function*() {
      const lobby = yield* make({ queueSize: 20, maxMessageSize: 286 })
      const [a, b] = [worker("a"), worker("b")]
      yield* lobby.enqueue("12345678", "1234")
      expect((yield* Effect.flip(lobby.enqueue("12345", "1234"))).code).toBe(597)
      yield* lobby.enqueue("1234")
      yield* lobby.register(a)
      expect(a.origins).toEqual(["1234", undefined])
      yield* lobby.leave("a")
      for (const { settle } of [...a.unsettled]) settle(false)
      yield* Effect.flip(lobby.enqueue("12345"))
      yield* lobby.register(b)
      expect([b.given, b.origins]).toEqual([["12345678", "1234"], ["1234", undefined]])
      yield* lobby.enqueue("1".repeat(20), "1".repeat(10))
      expect((yield* Effect.flip(lobby.enqueue("1".repeat(20), "1".repeat(11)))).code).toBe(597)
      expect((yield* Effect.flip(lobby.enqueue("1".repeat(20), "é".repeat(6)))).code).toBe(597)
    }))

  describe("a worker that acknowledges", () => {
    const all = (w: FakeWorker) => w.given.map((json, index) => [json, w.deliveries[index]?.attempt])
    const idOf = (w: FakeWorker, json: string) => w.deliveries[w.given.lastIndexOf(json)]!.id
    const acknowledge = (lobby: Lobby.Lobby, w: FakeWorker, ...events: ReadonlyArray<string>) =>
      lobby.ack(w.id, w.connection, events.map((event) => idOf(w, event)))
    const release = (lobby: Lobby.Lobby, w: FakeWorker, event: string, reason = "") =>
      lobby.nack(w.id, w.connection, idOf(w, event), reason)
    const firstTry = (from: number, to: number) => numbers(from, to).map((event) => [event, 1])

    it.effect("has an event in hand until it has acknowledged it, and not longer", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a", { prefetch: 10, settles: true }), worker("b", { prefetch: 10, settles: true })]
        yield* lobby.register(a)
        yield* trigger(lobby, ...numbers(0, 5))
        expect(all(a)).toEqual(firstTry(0, 5))
        expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 5, acknowledged: 0 })
        yield* acknowledge(lobby, a, "e3", "e1")
        expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 3, acknowledged: 2 })
        yield* lobby.leave("a")
        expect(lobby.counters).toMatchObject({ queued: 3, unacknowledged: 0, redelivered: 3 })
        yield* lobby.register(b)
        expect(all(b)).toEqual([["e0", 2], ["e2", 2], ["e4", 2]])
        yield* acknowledge(lobby, b, "e0", "e2", "e4")
        expect(lobby.counters).toEqual({
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

    it.effect.each(["leaves", "expires", "is replaced", "is dismissed", "gives back"] as const)(
      "that %s has its events go before the others, in their order, as another attempt",
      (how) =>
        Effect.gen(function*() {
          const lobby = yield* make()
          const connection = {}
          const a = worker("a", { prefetch: 3, settles: true, connection })
          const next = worker(how === "is replaced" ? "a" : "b", { prefetch: 10, settles: true })
          yield* lobby.register(a)
          yield* trigger(lobby, ...numbers(0, 5))
          expect(all(a)).toEqual(firstTry(0, 3))
          const ids = a.deliveries.map((delivery) => delivery!.id)
          if (how === "leaves") yield* lobby.leave("a", connection)
          if (how === "expires") {
            yield* tickAfter(lobby, 2000)
          }
          if (how === "is dismissed") yield* lobby.dismissAll
          if (how === "gives back") {
            yield* lobby.register(worker("a", { prefetch: 0, connection }))
            for (const event of ["e1", "e0", "e2"]) yield* release(lobby, a, event)
          }
          if (how !== "is replaced") expect((yield* lobby.info).queued).toBe(5)
          yield* lobby.register(next)
          expect(all(next)).toEqual([["e0", 2], ["e1", 2], ["e2", 2], ["e3", 1], ["e4", 1]])
          expect(next.deliveries.slice(0, 3).map((delivery) => delivery!.id)).toEqual(ids)
          expect(a.given.length).toBe(3)
          expect(lobby.counters).toMatchObject({ redelivered: 3, unacknowledged: 5, queued: 0 })
        })
    )

    it.effect("has its events go at once to others that are there", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a", { prefetch: 10, settles: true }), worker("b", { prefetch: 10, settles: true })]
        yield* Effect.forEach([a, b], lobby.register)
        yield* trigger(lobby, ...numbers(0, 4))
        yield* lobby.leave("a")
        expect(all(b)).toEqual([["e1", 1], ["e3", 1], ["e0", 2], ["e2", 2]])
        expect((yield* lobby.info).queued).toBe(0)
      }))

    it.effect("has as many as it wants at a time, none where it wants none", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const connection = {}
        const a = worker("a", { prefetch: 2, settles: true, connection })
        const wants = (prefetch: number) => lobby.register({ ...a, prefetch })
        yield* lobby.register(a)
        yield* trigger(lobby, ...numbers(0, 6))
        expect(a.given).toEqual(numbers(0, 2))
        yield* acknowledge(lobby, a, "e0")
        expect(a.given).toEqual(numbers(0, 3))
        yield* wants(0)
        yield* acknowledge(lobby, a, "e1")
        yield* release(lobby, a, "e2")
        yield* lobby.heartbeat("a")
        expect(a.given).toEqual(numbers(0, 3))
        expect((yield* lobby.info).queued).toBe(4)
        yield* wants(1)
        yield* wants(1)
        expect(all(a).slice(3)).toEqual([["e2", 2]])
        yield* wants(3)
        expect(all(a).slice(4)).toEqual([["e3", 1], ["e4", 1]])
        expect(lobby.counters).toMatchObject({ unacknowledged: 3, queued: 1 })
      }))

    it.effect("gets the next event before one that has more in hand, and in its turn among equals", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b, c] = [
          worker("a", { prefetch: 10, settles: true }),
          worker("b", { prefetch: 10, settles: true }),
          worker("c", { prefetch: 10, settles: true })
        ]
        yield* Effect.forEach([a, b, c], lobby.register)
        yield* trigger(lobby, ...numbers(0, 6))
        expect([a, b, c].map(({ given }) => given)).toEqual([["e0", "e3"], ["e1", "e4"], ["e2", "e5"]])
        yield* acknowledge(lobby, c, "e2", "e5")
        yield* acknowledge(lobby, b, "e1")
        // c has none, then b and c have one each, b's turn before c's; then all have two.
        yield* trigger(lobby, ...numbers(6, 10))
        expect([a, b, c].map(({ given }) => given.slice(2))).toEqual([["e9"], ["e7"], ["e6", "e8"]])
      }))

    it.effect("has in hand what counts for the bounds, in number", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueCapacity: 3 })
        const a = worker("a", { prefetch: 2, settles: true })
        yield* lobby.register(a)
        yield* trigger(lobby, "e0", "e1", "e2")
        expect((yield* Effect.flip(lobby.enqueue("refused"))).code).toBe(597)
        expect(lobby.counters).toMatchObject({ queued: 1, unacknowledged: 2, refused: 1 })
        yield* acknowledge(lobby, a, "e0")
        yield* lobby.enqueue("e3")
        yield* Effect.flip(lobby.enqueue("refused"))
        // What comes back has its place.
        yield* lobby.leave("a")
        expect((yield* lobby.info).queued).toBe(3)
        yield* Effect.flip(lobby.enqueue("refused"))
      }))

    it.effect("has in hand what counts for the bounds, in bytes", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueSize: 20 })
        const a = worker("a", { prefetch: 2, settles: true })
        yield* lobby.register(a)
        yield* trigger(lobby, "12345678", "żżżż")
        yield* Effect.flip(lobby.enqueue("12345"))
        yield* lobby.enqueue("1234")
        yield* Effect.flip(lobby.enqueue("1"))
        yield* acknowledge(lobby, a, "żżżż")
        expect(a.given.at(-1)).toBe("1234")
        yield* lobby.enqueue("87654321")
        yield* Effect.flip(lobby.enqueue("1"))
      }))

    it.effect("has no more than the bounds allow however many it wants, but can always have one", () =>
      Effect.gen(function*() {
        for (const bound of [{ queueCapacity: 2 }, { queueSize: 4 }, { queueCapacity: 0 }, { queueSize: 0 }]) {
          const lobby = yield* make(bound)
          const [a, b] = [worker("a", { prefetch: 1e9, settles: true }), worker("b", { prefetch: 1e9, settles: true })]
          const most = Math.max(1, bound.queueCapacity ?? bound.queueSize / 2)
          yield* lobby.register(a)
          yield* trigger(lobby, ...numbers(0, most))
          yield* Effect.flip(lobby.enqueue("no"))
          expect(a.given).toEqual(numbers(0, most))
          yield* lobby.register(b)
          yield* lobby.enqueue("e8")
          yield* Effect.flip(lobby.enqueue("no"))
          expect(b.given).toEqual(["e8"])
          yield* acknowledge(lobby, b, "e8")
          yield* lobby.enqueue("e9")
          expect(b.given).toEqual(["e8", "e9"])
        }
      }))

    it.effect("has lifecycle events in hand to the cost of lifecycle events alone, and others of others", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueCapacity: 2 })
        const taker = worker("taker", { prefetch: 2, settles: true, lifecycle: true })
        yield* lobby.register(taker)
        yield* announce(lobby, "l0", "l1", "l2")
        expect(lobby.counters).toMatchObject({ unacknowledged: 2, queued: 1, dropped: 0 })
        yield* trigger(lobby, "e0", "e1")
        yield* Effect.flip(lobby.enqueue("refused"))
        yield* announce(lobby, "l3")
        expect(lobby.counters).toMatchObject({ accepted: 6, dropped: 1, refused: 1 })
        yield* acknowledge(lobby, taker, ...texts("l0", "l1"))
        expect(taker.given).toEqual([...texts("l0", "l1"), "e0", "e1"])
        // Two others in hand: two lifecycle events have their room all the same.
        yield* announce(lobby, "l4")
        expect(lobby.counters).toMatchObject({ unacknowledged: 2, queued: 2, dropped: 1 })
      }))

    it.effect("has had no attempt where the event could not be handed over", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a", { prefetch: 10 }), worker("b", { prefetch: 10 })]
        yield* Effect.forEach([a, b], lobby.register)
        yield* trigger(lobby, "e0", "e1")
        a.unsettled[0]!.settle(false)
        expect([all(a), all(b)]).toEqual([[["e0", 1]], [["e1", 1], ["e0", 1]]])
        expect(lobby.counters).toMatchObject({ unacknowledged: 2, redelivered: 0, delivered: 0 })
        // Nothing comes to it before it is heard.
        yield* trigger(lobby, "e2")
        expect(a.given.length).toBe(1)
        yield* lobby.heartbeat("a")
        yield* trigger(lobby, "e3")
        expect(all(a)).toEqual([["e0", 1], ["e3", 1]])
        yield* acknowledge(lobby, a, "e0")
        expect(lobby.counters).toMatchObject({ unacknowledged: 4, acknowledged: 0 })
      }))

    it.effect("has had none where that is known at once, either", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const broken = worker("broken", { prefetch: 10, settles: false })
        const a = worker("a", { prefetch: 10, settles: true })
        yield* lobby.register(broken)
        yield* trigger(lobby, "e0", "e1")
        expect(lobby.counters).toMatchObject({ unacknowledged: 0, queued: 2, redelivered: 0 })
        yield* lobby.register(a)
        expect([all(broken), all(a)]).toEqual([[["e0", 1]], firstTry(0, 2)])
      }))

    it.effect("that has gone cannot bring an event back again by a hand-over that failed", () =>
      Effect.gen(function*() {
        for (const go of ["leave", "replace", "acknowledge", "give back"] as const) {
          const lobby = yield* make()
          const connection = {}
          const a = worker("a", { prefetch: 1, connection })
          const next = worker(go === "replace" ? "a" : "b", { prefetch: 10, settles: true })
          yield* lobby.register(a)
          yield* lobby.enqueue("e0")
          const { settle } = a.unsettled[0]!
          if (go === "leave") yield* lobby.leave("a")
          if (go === "acknowledge") yield* acknowledge(lobby, a, "e0")
          // It gets it again itself.
          if (go === "give back") yield* release(lobby, a, "e0")
          yield* lobby.register(next)
          settle(false)
          if (go === "acknowledge") expect([all(next), (yield* lobby.info).queued]).toEqual([[], 0])
          else if (go === "give back") expect([all(a), all(next)]).toEqual([[["e0", 1], ["e0", 2]], []])
          else expect(all(next)).toEqual([["e0", 2]])
          expect(lobby.counters.unacknowledged).toBe(go === "acknowledge" ? 0 : 1)
        }
      }))

    it.effect("acknowledges and gives back what it has, on its connection, and nothing else", () =>
      Effect.gen(function*() {
        const deadLetters = yield* makeDeadLetters
        const lobby = yield* make({ deadLetters })
        const old = worker("a", { prefetch: 1, settles: true })
        const a = worker("a", { prefetch: 2, settles: true })
        const b = worker("b", { prefetch: 2, settles: true })
        yield* lobby.register(old)
        yield* lobby.enqueue("e0")
        yield* lobby.register(b)
        yield* lobby.enqueue("e1")
        yield* lobby.register(a)
        yield* lobby.enqueue("e2")
        yield* acknowledge(lobby, b, "e1")
        expect([a.given, b.given]).toEqual([["e0"], ["e1", "e2"]])
        const [e0, e1, e2] = [idOf(a, "e0"), idOf(b, "e1"), idOf(b, "e2")]
        const before = { ...lobby.counters }
        const none: ReadonlyArray<readonly [id: string, connection: unknown, delivery: string]> = [
          // Of another, of an old connection, of a connection that never was, of nobody.
          ["a", a.connection, e2],
          ["b", b.connection, e0],
          ["a", old.connection, e0],
          ["a", {}, e0],
          ["a", b.connection, e0],
          ["c", a.connection, e0],
          // Acknowledged already, and what nobody ever had.
          ["b", b.connection, e1],
          ["a", a.connection, ""],
          ["a", a.connection, "e0"],
          ["a", a.connection, `${e0}0`],
          ["a", a.connection, "__proto__"]
        ]
        for (const [id, connection, delivery] of none) {
          yield* lobby.ack(id, connection, [delivery, delivery])
          yield* lobby.nack(id, connection, delivery, "")
          yield* lobby.nack(id, connection, delivery, "it failed")
        }
        yield* lobby.ack("a", a.connection, [])
        expect(lobby.counters).toEqual(before)
        expect([a.given, b.given, yield* deadLetters.list]).toEqual([["e0"], ["e1", "e2"], []])
        // What is nothing stands in no one's way, and twice is once.
        yield* lobby.ack("a", a.connection, ["", e2, e0, e0])
        expect(lobby.counters).toMatchObject({ acknowledged: 2, unacknowledged: 1 })
      }))

    it.effect("whose handler fails gets the event again, as often as it may; then it is a dead letter", () =>
      Effect.gen(function*() {
        const deadLetters = yield* makeDeadLetters
        const lobby = yield* make({ deadLetters })
        const a = worker("a", { prefetch: 1, maxAttempts: 3, settles: true })
        yield* lobby.register(a)
        yield* lobby.enqueue("e0", `{"sid":"s"}`)
        yield* lobby.enqueue("e1")
        for (const attempt of [1, 2, 3]) {
          expect(all(a).at(-1)).toEqual(["e0", attempt])
          expect(yield* deadLetters.list).toEqual([])
          yield* TestClock.adjust(1)
          yield* release(lobby, a, "e0", `it failed ${attempt}`)
        }
        expect(yield* deadLetters.list).toEqual([
          { id: idOf(a, "e0"), json: "e0", origin: `{"sid":"s"}`, attempts: 3, reason: "it failed 3", failedAt: 3 }
        ])
        // It has left its place to the next.
        expect(all(a)).toEqual([["e0", 1], ["e0", 2], ["e0", 3], ["e1", 1]])
        expect(lobby.counters).toMatchObject({ redelivered: 2, acknowledged: 0, unacknowledged: 1, queued: 0 })
        yield* lobby.leave("a")
        expect((yield* lobby.info).queued).toBe(1)
      }))

    it.effect("that has it fail once and for all leaves a dead letter at once", () =>
      Effect.gen(function*() {
        for (const maxAttempts of [1, 0, -1]) {
          const deadLetters = yield* makeDeadLetters
          const lobby = yield* make({ deadLetters })
          const a = worker("a", { prefetch: 1, maxAttempts, settles: true })
          yield* lobby.register(a)
          yield* lobby.enqueue("e0")
          yield* release(lobby, a, "e0", "it failed")
          expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 1, reason: "it failed" }])
          expect([a.given.length, lobby.counters.redelivered]).toEqual([1, 0])
        }
      }))

    it.effect("gives back for no reason as often as it likes, and failures alone count", () =>
      Effect.gen(function*() {
        const deadLetters = yield* makeDeadLetters
        const lobby = yield* make({ deadLetters })
        const [a, b] = [
          worker("a", { prefetch: 1, maxAttempts: 1, settles: true }),
          worker("b", { prefetch: 1, maxAttempts: 2, settles: true })
        ]
        yield* lobby.register(a)
        yield* lobby.enqueue("e0")
        for (let n = 0; n < 5; n++) yield* release(lobby, a, "e0")
        expect(yield* deadLetters.list).toEqual([])
        expect(all(a).at(-1)).toEqual(["e0", 6])
        yield* lobby.leave("a")
        yield* lobby.register(b)
        // How often it may fail is what the one says at which it does.
        yield* release(lobby, b, "e0", "once")
        expect(all(b)).toEqual([["e0", 7], ["e0", 8]])
        yield* release(lobby, b, "e0", "twice")
        expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 8, reason: "twice" }])
      }))

    describe("redeliveries", () => {
      const failing = Effect.fnUntraced(function*(options?: Parameters<typeof make>[0]) {
        const deadLetters = yield* makeDeadLetters
        const lobby = yield* make({ redeliveryBackoff: Duration.millis(100), deadLetters, ...options })
        const a = worker("a", { prefetch: 1, maxAttempts: 100, settles: true })
        yield* lobby.register(a)
        return { lobby, a, deadLetters }
      })
      /** How long it takes until the event comes again. */
      const waits = (lobby: Lobby.Lobby, w: FakeWorker, end: Effect.Effect<void>) =>
        Effect.gen(function*() {
          const [before, clock] = [w.given.length, yield* Clock.Clock]
          const start = clock.currentTimeMillisUnsafe()
          yield* end
          while (w.given.length === before) {
            const due = lobby.nextDue()!
            yield* TestClock.adjust(due - Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
            yield* lobby.redeliver
          }
          return clock.currentTimeMillisUnsafe() - start
        })

      it.effect("wait twice as long with each failure of the handler, up to a bound, and others pass them", () =>
        Effect.gen(function*() {
          const { a, lobby } = yield* failing()
          yield* trigger(lobby, "e0")
          const waited = yield* Effect.replicateEffect(waits(lobby, a, release(lobby, a, "e0", "it failed")), 9)
          expect(waited).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400])
          yield* trigger(lobby, "e1")
          yield* release(lobby, a, "e0", "it failed")
          expect(a.given.at(-1)).toBe("e1")
          expect(lobby.counters).toMatchObject({ queued: 1, unacknowledged: 1 })
          yield* acknowledge(lobby, a, "e1")
          expect(lobby.nextDue()).toBeGreaterThan(0)
          yield* lobby.redeliver
          expect(a.given.at(-1)).toBe("e1")
        }))

      it.effect("wait from the second release on, and count for neither limit", () =>
        Effect.gen(function*() {
          const { a, deadLetters, lobby } = yield* failing({ maxDeliveries: 1 })
          const impatient = { ...a, maxAttempts: 1 }
          yield* lobby.register(impatient)
          yield* trigger(lobby, "e0")
          const waited = yield* Effect.replicateEffect(waits(lobby, a, release(lobby, a, "e0")), 9)
          expect(waited).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, 6400])
          // Its first failure is its first.
          yield* release(lobby, a, "e0", "it failed")
          expect(yield* deadLetters.list).toMatchObject([{ json: "e0", attempts: 10, reason: "it failed" }])
        }))

      it.effect("count for the limits of the queue while they wait, and go back to their old place", () =>
        Effect.gen(function*() {
          const { a, lobby } = yield* failing({ queueCapacity: 2 })
          yield* lobby.register({ ...a, prefetch: 2 })
          yield* trigger(lobby, "e0", "e1")
          yield* release(lobby, a, "e1", "it failed")
          yield* release(lobby, a, "e0", "it failed")
          yield* lobby.register({ ...a, prefetch: 0 })
          expect((yield* lobby.info).queued).toBe(2)
          expect((yield* Effect.flip(lobby.enqueue("e2"))).detail).toContain("2 events are queued")
          yield* TestClock.adjust("100 millis")
          // A tick finds them, too.
          yield* lobby.tick
          yield* lobby.register({ ...a, prefetch: 2 })
          expect(a.given.slice(2)).toEqual(["e0", "e1"])
        }))

      it.effect("end where deliveries ended too often without a word, as a dead letter that says so", () =>
        Effect.gen(function*() {
          const { a, deadLetters, lobby } = yield* failing({ maxDeliveries: 4 })
          yield* trigger(lobby, "e0", "e1")
          const lose = [
            lobby.leave("a"),
            lobby.register(worker("a", { prefetch: 1, maxAttempts: 100, settles: true })),
            tickAfter(lobby, 2500)
          ]
          for (const end of lose) {
            yield* lobby.register(a)
            // None of these is one: a failure, a release, the broker's own goodbye, a delivery that never left.
            yield* waits(lobby, a, release(lobby, a, "e0", "it failed"))
            yield* release(lobby, a, "e0")
            yield* TestClock.adjust("10 seconds")
            yield* lobby.redeliver
            yield* lobby.dismissAll
            yield* lobby.register(worker("broken", { prefetch: 1, settles: false }))
            yield* lobby.leave("broken")
            yield* lobby.register(a)
            expect(a.given.at(-1)).toBe("e0")
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
    })

    it.effect("is one among others that do not, which have events once and for all", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const plain = worker("plain")
        const a = worker("a", { prefetch: 2, settles: true })
        yield* Effect.forEach([plain, a], lobby.register)
        yield* trigger(lobby, "e0", "e1")
        expect([plain.given, plain.deliveries, all(a)]).toEqual([["e0"], [undefined], [["e1", 1]]])
        expect(lobby.counters).toMatchObject({ unacknowledged: 1, delivered: 1 })
        // It cannot say what became of it.
        yield* lobby.ack("plain", plain.connection, [idOf(a, "e1")])
        yield* lobby.nack("plain", plain.connection, idOf(a, "e1"), "")
        expect(lobby.counters).toMatchObject({ unacknowledged: 1, acknowledged: 0 })
        // What fails at one comes to the other, as a first attempt; what the other gives back is for one, too.
        plain.unsettled[0]!.settle(false)
        expect(all(a)).toEqual([["e1", 1], ["e0", 1]])
        yield* lobby.leave("a")
        expect((yield* lobby.info).queued).toBe(2)
        yield* lobby.heartbeat("plain")
        expect([plain.given, plain.deliveries]).toEqual([["e0", "e0", "e1"], [undefined, undefined, undefined]])
        for (const { settle } of [...plain.unsettled]) settle(true)
        yield* lobby.leave("plain")
        expect(lobby.counters).toMatchObject({ queued: 0, unacknowledged: 0, redelivered: 2, delivered: 4 })
      }))

    it.effect("knows events by names that are of this lobby and of each alone", () =>
      Effect.gen(function*() {
        const ids = new Set<string>()
        for (const lobby of [yield* make(), yield* make()]) {
          const a = worker("a", { prefetch: 100, settles: true, lifecycle: true })
          yield* lobby.register(a)
          yield* trigger(lobby, ...numbers(0, 50))
          yield* announce(lobby, ...numbers(0, 50))
          for (const { id } of a.deliveries.map((delivery) => delivery!)) {
            expect(id).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/)
            ids.add(id)
          }
        }
        expect(ids.size).toBe(200)
      }))

    it.effect("has nothing for another that goes with it", () =>
      Effect.gen(function*() {
        for (const how of ["expire", "dismissAll"] as const) {
          const lobby = yield* make()
          const gone = numbers(0, 3).map((id) => worker(id, { prefetch: 10, settles: true }))
          const stays = worker("stays", { prefetch: 10, settles: true })
          yield* Effect.forEach(gone, lobby.register)
          yield* trigger(lobby, ...numbers(0, 3))
          if (how === "expire") {
            yield* tickAfter(lobby, 1500)
            yield* lobby.register(
              worker("stays", { prefetch: 0, settles: true, connection: stays.connection as object })
            )
            yield* tickAfter(lobby, 500)
            yield* lobby.register(stays)
          } else {
            yield* lobby.dismissAll
            yield* lobby.register(stays)
          }
          expect(gone.map(all)).toEqual([[["e0", 1]], [["e1", 1]], [["e2", 1]]])
          expect(all(stays)).toEqual([["e0", 2], ["e1", 2], ["e2", 2]])
          expect(gone.map(({ log }) => log.at(-1))).toEqual(["dismissed", "dismissed", "dismissed"])
        }
      }))
  })

  describe("lifecycle events", () => {
    it.effect("are nothing before a worker comes that takes them", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [plain, taker] = [worker("plain"), worker("taker", { lifecycle: true })]
        yield* announce(lobby, "l0")
        yield* lobby.register(plain)
        yield* announce(lobby, "l1")
        expect(lobby.counters).toMatchObject({ accepted: 0, delivered: 0, refused: 0, dropped: 0 })
        yield* lobby.register(taker)
        expect([plain.given, taker.given]).toEqual([[], []])
        yield* announce(lobby, "l2")
        expect([plain.given, taker.given]).toEqual([[], texts("l2")])
        expect(taker.origins).toEqual([undefined])
      }))

    it.effect("go only to workers that take them, each to one, round robin with the others", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, plain, b] = [
          worker("a", { lifecycle: true }),
          worker("plain"),
          worker("b", { lifecycle: true })
        ]
        yield* Effect.forEach([a, plain, b], lobby.register)
        yield* announce(lobby, "l0", "l1", "l2")
        expect([a.given, plain.given, b.given]).toEqual([texts("l0", "l2"), [], texts("l1")])
        // Whose turn it was and who could not take them is the next for others.
        yield* trigger(lobby, "e0", "e1", "e2")
        expect([a.given.slice(2), plain.given, b.given.slice(1)]).toEqual([["e2"], ["e0"], ["e1"]])
      }))

    it.effect("come in the order of their happening with the others", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [first, next] = [worker("first", { lifecycle: true }), worker("next", { lifecycle: true })]
        yield* lobby.register(first)
        yield* lobby.leave("first")
        yield* trigger(lobby, "e0")
        yield* announce(lobby, "l0", "l1")
        yield* trigger(lobby, "e1", "e2")
        yield* announce(lobby, "l2")
        expect((yield* lobby.info).queued).toBe(3)
        yield* lobby.register(next)
        expect(next.given).toEqual(["e0", ...texts("l0", "l1"), "e1", "e2", ...texts("l2")])
        expect(lobby.counters).toMatchObject({ accepted: 6, delivered: 0, refused: 0, dropped: 0 })
        for (const { settle } of [...next.unsettled]) settle(true)
        expect(lobby.counters.delivered).toBe(6)
      }))

    it.effect("keep nobody waiting who does not take them", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [taker, plain] = [worker("taker", { lifecycle: true }), worker("plain")]
        yield* lobby.register(taker)
        yield* lobby.leave("taker")
        yield* announce(lobby, "l0")
        yield* trigger(lobby, "e0")
        yield* lobby.register(plain)
        yield* trigger(lobby, "e1")
        expect(plain.given).toEqual(["e0", "e1"])
        yield* lobby.register(taker)
        expect(taker.given).toEqual(texts("l0"))
      }))

    it.effect("wait in a bound of their own, where the oldest are dropped and counted", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueCapacity: 3 })
        const taker = worker("taker", { lifecycle: true })
        yield* lobby.register(taker)
        yield* lobby.leave("taker")
        yield* announce(lobby, ...numbers(0, 5))
        expect(lobby.counters).toMatchObject({ accepted: 5, delivered: 0, refused: 0, dropped: 2 })
        // They take nothing from the room of the others.
        yield* trigger(lobby, "t0", "t1", "t2")
        yield* Effect.flip(lobby.enqueue("refused"))
        expect(lobby.counters).toMatchObject({ accepted: 8, delivered: 0, refused: 1, dropped: 2 })
        yield* lobby.register(taker)
        expect(taker.given).toEqual([...texts("e2", "e3", "e4"), "t0", "t1", "t2"])
      }))

    it.effect("are dropped as many as need be for the bound in bytes", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ queueSize: 30 })
        const taker = worker("taker", { lifecycle: true })
        yield* lobby.register(taker)
        yield* lobby.leave("taker")
        // Of nine bytes each, in UTF-8.
        yield* announce(lobby, "l0", "ż", "l2")
        expect(lobby.counters.dropped).toBe(0)
        yield* announce(lobby, "0123456789")
        expect(lobby.counters.dropped).toBe(2)
        // One that is larger than all the room waits alone.
        yield* announce(lobby, "0123456789012345678901234567890123456789")
        expect(lobby.counters.dropped).toBe(4)
        yield* lobby.register(taker)
        expect(taker.given).toEqual(texts("0123456789012345678901234567890123456789"))
      }))

    it.effect("that a worker's connection could not carry are dropped and counted, whoever is there", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ maxMessageSize: 256 + 20 })
        const taker = worker("taker", { lifecycle: true })
        yield* lobby.register(taker)
        yield* announce(lobby, "ż".repeat(6), "ż".repeat(7))
        expect(taker.given).toEqual(texts("ż".repeat(6)))
        expect(lobby.counters).toMatchObject({ accepted: 1, delivered: 0, refused: 0, dropped: 1 })
      }))

    it.effect("go back to their old place among the others where they could not be handed over", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a", { lifecycle: true }), worker("b", { lifecycle: true })]
        yield* lobby.register(a)
        for (const n of [0, 1, 2]) {
          yield* trigger(lobby, `e${n}`)
          yield* announce(lobby, `l${n}`)
        }
        const unsettled = [...a.unsettled]
        for (const index of [3, 0, 5, 2, 1, 4]) unsettled[index]!.settle(false)
        yield* announce(lobby, "l3")
        expect((yield* lobby.info).queued).toBe(3)
        yield* lobby.register(b)
        expect(b.given).toEqual(["e0", ...texts("l0"), "e1", ...texts("l1"), "e2", ...texts("l2", "l3")])
        expect(lobby.counters).toMatchObject({ accepted: 7, delivered: 0, refused: 0, dropped: 0 })
      }))

    it.effect("are kept for as long as lifecycleRetention while nobody takes them, then dropped, and later ones are nothing", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ lifecycleRetention: Duration.seconds(10) })
        const [taker, plain] = [worker("taker", { lifecycle: true }), worker("plain", { settles: true })]
        yield* lobby.register(taker)
        yield* lobby.register(plain)
        yield* lobby.leave("taker")
        yield* announce(lobby, "l0")
        yield* tickAfter(lobby, 10_000)
        yield* announce(lobby, "l1")
        expect(lobby.counters.dropped).toBe(0)
        // One that does not take them keeps none.
        yield* lobby.register(plain)
        yield* tickAfter(lobby, 1)
        expect(lobby.counters).toMatchObject({ accepted: 2, delivered: 0, refused: 0, dropped: 2 })
        yield* announce(lobby, "l2")
        yield* lobby.register(taker)
        expect(taker.given).toEqual([])
        yield* announce(lobby, "l3")
        expect([taker.given, plain.given]).toEqual([texts("l3"), []])
      }))

    it.effect("are kept anew from the last time that a taker was there", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ lifecycleRetention: Duration.seconds(10) })
        const taker = worker("taker", { lifecycle: true })
        yield* lobby.register(taker)
        yield* lobby.leave("taker")
        yield* tickAfter(lobby, 9000)
        yield* lobby.register(taker)
        yield* lobby.leave("taker")
        yield* announce(lobby, "l0")
        yield* tickAfter(lobby, 9000)
        yield* lobby.register(taker)
        expect(taker.given).toEqual(texts("l0"))
      }))

    it.effect("go to a worker for as long as it is there, however short lifecycleRetention is", () =>
      Effect.gen(function*() {
        const lobby = yield* make({ lifecycleRetention: Duration.zero })
        const taker = worker("taker", { lifecycle: true, settles: true })
        yield* lobby.register(taker)
        for (const n of [0, 1, 2]) {
          yield* announce(lobby, `l${n}`)
          yield* tickAfter(lobby, 500)
        }
        expect(taker.given).toEqual(texts("l0", "l1", "l2"))
        yield* lobby.leave("taker")
        yield* tickAfter(lobby, 500)
        yield* announce(lobby, "l3")
        expect(lobby.counters).toMatchObject({ accepted: 3, delivered: 3, refused: 0, dropped: 0 })
      }))

    it.effect("are no longer for a worker that says so when it is ready again", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const connection = {}
        const before = worker("a", { connection, lifecycle: true })
        const after = worker("a", { connection })
        yield* lobby.register(before)
        yield* lobby.register(after)
        yield* announce(lobby, "l0")
        yield* trigger(lobby, "e0")
        expect([before.given, after.given]).toEqual([[], ["e0"]])
        yield* lobby.register(before)
        expect(before.given).toEqual(texts("l0"))
      }))
  })

  describe("coming and going", () => {
    it.effect("knows who is there", () =>
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

    it.effect("answers each sign of life with one", () =>
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

    it.effect("lets one that says it is ready again just go on, in its turn", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.register(a)
        yield* lobby.register(b)
        yield* trigger(lobby, "e0")
        yield* lobby.register(a)
        yield* trigger(lobby, "e1", "e2")
        expect([a.given, b.given]).toEqual([["e0", "e2"], ["e1"]])
        expect((yield* lobby.info).workers.length).toBe(2)
        expect(a.log).not.toContain("dismissed")
      }))

    it.effect("gives everything to the new connection where one takes the place of another", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.register(old)
        yield* trigger(lobby, "e0")
        yield* lobby.register(fresh)
        yield* trigger(lobby, "e1", "e2")
        expect([old.given, fresh.given]).toEqual([["e0"], ["e1", "e2"]])
        expect((yield* lobby.info).workers).toEqual(["a"])
        yield* lobby.heartbeat("a")
        expect([old.log.filter((entry) => entry === "heartbeat").length, fresh.log]).toEqual([
          1,
          ["heartbeat", "e1", "e2", "heartbeat"]
        ])
      }))

    it.effect("does not hold the end of an old connection against the new one", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.register(old)
        yield* trigger(lobby, ...numbers(0, 64))
        yield* lobby.register(fresh)
        // Nothing is on its way to the new one yet.
        yield* trigger(lobby, "e64")
        expect(fresh.given).toEqual(["e64"])
        // What failed on the old connection goes to the new one at once.
        old.unsettled[0]!.settle(false)
        expect(fresh.given).toEqual(["e64", "e0"])
      }))

    it.effect("hears a worker on its own connection alone", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.register(old)
        yield* lobby.register(fresh)
        expect(yield* lobby.heartbeat("a", old.connection)).toBe(false)
        expect(yield* lobby.heartbeat("a", fresh.connection)).toBe(true)
        expect([old.log, fresh.log]).toEqual([["heartbeat"], ["heartbeat", "heartbeat"]])
        // What the old one says keeps nobody alive.
        yield* tickAfter(lobby, 1500)
        yield* lobby.heartbeat("a", old.connection)
        yield* tickAfter(lobby, 500)
        expect([old.log.at(-1), fresh.log.at(-1)]).toEqual(["heartbeat", "dismissed"])
      }))

    it.effect("removes a worker for the end of its own connection alone", () =>
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

    it.effect("dismisses those of one endpoint, and gives what they held to the others", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a", { prefetch: 2, settles: true }), worker("b", { prefetch: 2, settles: true })]
        yield* Effect.forEach([a, b], lobby.register)
        yield* trigger(lobby, "e0", "e1")
        yield* lobby.dismissWhere(({ connection }) => connection === a.connection)
        expect([a.log, b.log]).toEqual([["heartbeat", "e0", "dismissed"], ["heartbeat", "e1", "e0"]])
        expect((yield* lobby.info).workers).toEqual(["b"])
      }))

    it.effect("tells every worker that it is dismissed, whatever another does with that", () =>
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
        // It is waited for no longer than an interval.
        yield* TestClock.adjust(1)
        yield* Fiber.join(ticking)
      }).pipe(Effect.provide(Logger.layer([]))))

    it.effect("dismisses everybody, and keeps what waits", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const all = [worker("a"), worker("b")]
        yield* Effect.forEach(all, lobby.register)
        yield* lobby.dismissAll
        expect(all.map(({ log }) => log)).toEqual([["heartbeat", "dismissed"], ["heartbeat", "dismissed"]])
        expect((yield* lobby.info).workers).toEqual([])
        yield* trigger(lobby, "e0")
        expect((yield* lobby.info).queued).toBe(1)
        yield* lobby.dismissAll
        expect(all[0]!.log.length).toBe(2)
      }))
  })

  describe("time", () => {
    it.effect("greets a silent worker at every tick, and dismisses it after three missed heartbeats", () =>
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

    it.effect("keeps a worker for as long as it is heard, by whatever it says", () =>
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

    it.effect("does not take deliveries or greetings for signs of life", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const a = worker("a", { settles: true })
        yield* lobby.register(a)
        for (let i = 0; i < 4; i++) {
          yield* trigger(lobby, `e${i}`)
          yield* tickAfter(lobby, 500)
        }
        expect(a.log.at(-1)).toBe("dismissed")
      }))

    it.effect("greets one that speaks itself by its answers alone", () =>
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

    it.effect("greets once an interval even where it is ticked more often", () =>
      Effect.gen(function*() {
        // As where a vhost is behind two backend endpoints, each with a clock of its own.
        const lobby = yield* make()
        const a = worker("a")
        yield* lobby.register(a)
        for (let i = 0; i < 3; i++) {
          yield* tickAfter(lobby, 400)
          yield* tickAfter(lobby, 100)
        }
        expect(a.log.length).toBe(4)
      }))

    it.effect("gives the events of a worker that is dismissed unheard to the next", () =>
      Effect.gen(function*() {
        const lobby = yield* make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.register(a)
        yield* trigger(lobby, ...numbers(0, 70))
        yield* tickAfter(lobby, 1501)
        expect(a.log.at(-1)).toBe("dismissed")
        yield* lobby.register(b)
        expect(b.given).toEqual(numbers(64, 70))
      }))
  })

  describe("property", () => {
    it.effect.prop("what happens equals a model, and every event goes to exactly one worker", [
      Arbitrary.array(step, { maxLength: 80 }),
      pick([
        { queueCapacity: 20, queueSize: 36 },
        { queueCapacity: 3, queueSize: 10_000 },
        { queueCapacity: 200, queueSize: 10_000 }
      ]),
      pick([2000, 400, 100]),
      pick([[], atTheBeginning]),
      pick([{ backoff: 0, maxDeliveries: Infinity }, { backoff: 300, maxDeliveries: 2 }])
    ], ([steps, bound, retention, beginning, { backoff, maxDeliveries }]) =>
      Effect.gen(function*() {
        const clock = yield* Clock.Clock
        const deadLetters = DeadLetters.make({ deadLetterCapacity: 10_000, deadLetterSize: 1_000_000, clock })
        const journal = FakeJournal.make()
        const lobby = yield* makeRaw({
          ...bound,
          lifecycleRetention: Duration.millis(retention),
          redeliveryBackoff: Duration.millis(backoff),
          maxDeliveries,
          deadLetters,
          journal
        })
        const real = makeReal(lobby)
        const model = makeModel(bound, retention, backoff, maxDeliveries)
        for (const step of [...beginning, ...steps, ...toTheEnd]) {
          yield* real.carryOut(step)
          model.carryOut(step)
          expect(real.seen()).toEqual(model.seen())
          expect(yield* lobby.info).toEqual(model.info())
          expect(lobby.counters).toEqual(model.counters())
          expect((yield* deadLetters.list).map(({ attempts, json, reason }) => [json, attempts, reason])).toEqual(
            model.dead()
          )
          // Everything that was taken and not dropped is at one place.
          expect(model.places()).toEqual(model.kept())
          // What is not with somebody for good is noted, in its order; lifecycle events never are.
          const letters = (yield* deadLetters.list).map(({ json }) => json)
          const done = new Set([...real.settled, ...model.acknowledged(), ...letters])
          expect(notedIn(journal)).toEqual(
            model.kept().filter((text) => !done.has(text) && !text.startsWith("{")).map(Number).toSorted((a, b) =>
              a - b
            )
          )
        }
        // In the end that is with its worker for good, with a name of its own.
        const letters = (yield* deadLetters.list).map(({ json }) => json)
        expect([...real.settled, ...model.acknowledged(), ...letters].toSorted()).toEqual(model.kept())
        expect(new Set(real.names.values()).size).toBe(real.names.size)
      }), { arbitrary: { runs: 80, size: 80 } })
  })
})

const notedIn = (journal: FakeJournal.FakeJournal) =>
  journal.entries().flatMap((entry) => entry._tag === "Event" ? [Number(entry.json)] : [])

// --- The model -----------------------------------------------------------------------------------------------------------

type Step =
  | {
    readonly do: "join"
    readonly id: string
    readonly connection: number
    readonly lifecycle: boolean
    readonly prefetch: number | undefined
    readonly maxAttempts: number
  }
  | { readonly do: "leave"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "heard"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "trigger" | "announce"; readonly count: number }
  | { readonly do: "tick"; readonly after: number }
  /** Settles one of what is in hand, counted from the oldest. */
  | { readonly do: "settle"; readonly which: number; readonly delivered: boolean }
  | { readonly do: "settleAll" }
  /** Speaks of some of all deliveries, counted from the latest: who has been given it, or somebody else. */
  | { readonly do: "acknowledge"; readonly which: ReadonlyArray<number>; readonly by: Speaker | undefined }
  | { readonly do: "release"; readonly which: number; readonly by: Speaker | undefined; readonly reason: string }
  | { readonly do: "acknowledgeAll" }
  | { readonly do: "dismissAll" }

interface Speaker {
  readonly id: string
  readonly connection: number
}

/** A handing over to a worker that acknowledges. */
interface Handed extends Speaker {
  readonly text: string
}

const handedTo = (all: ReadonlyArray<Handed>, which: number, by: Speaker | undefined): Handed | undefined => {
  const handed = all.at(-1 - which)
  return handed && { ...handed, ...by }
}

const id = pick(["a", "b", "c"])

const speaker: Arbitrary.Arbitrary<Speaker | undefined> = oneOf<Speaker | undefined>(
  Arbitrary.Constant(undefined),
  Arbitrary.Constant(undefined),
  Arbitrary.all({ id, connection: int(0, 1) })
)

const recent = oneOf(int(0, 3), int(0, 9), int(0, 80))

const release: Arbitrary.Arbitrary<Step> = Arbitrary.map(
  Arbitrary.all({ which: recent, by: speaker, reason: pick(["", "it failed", "again"]) }),
  (release) => ({ do: "release", ...release })
)

const anyStep: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(
    Arbitrary.all({
      id,
      connection: int(0, 1),
      lifecycle: pick([true, false]),
      prefetch: pick([undefined, 0, 1, 2, 5, 100]),
      maxAttempts: pick([1, 2, 4])
    }),
    (join) => ({ do: "join", ...join })
  ),
  Arbitrary.map(Arbitrary.all({ id, connection: pick([0, 1, undefined]) }), (leave) => ({ do: "leave", ...leave })),
  Arbitrary.map(Arbitrary.all({ id, connection: pick([0, 1, undefined]) }), (heard) => ({ do: "heard", ...heard })),
  Arbitrary.map(pick([1, 1, 1, 2, 5, 70]), (count) => ({ do: "trigger", count })),
  Arbitrary.map(pick([1, 1, 1, 2, 5, 70]), (count) => ({ do: "announce", count })),
  Arbitrary.map(pick([0, 100, 250, 500, 500, 1500, 1501, 2001]), (after) => ({ do: "tick", after })),
  Arbitrary.map(
    Arbitrary.all({ which: recent, delivered: pick([true, false]) }),
    (settle) => ({ do: "settle", ...settle })
  ),
  Arbitrary.Constant({ do: "settleAll" }),
  Arbitrary.map(
    Arbitrary.all({ which: Arbitrary.array(recent, { maxLength: 4 }), by: speaker }),
    (acknowledge) => ({ do: "acknowledge", ...acknowledge })
  ),
  release,
  release,
  release,
  Arbitrary.Constant({ do: "acknowledgeAll" })
)

// Dismissing all is rare, or nothing would ever be there.
const step: Arbitrary.Arbitrary<Step> = Arbitrary.flatMap(
  int(0, 30),
  (n): Arbitrary.Arbitrary<Step> => n === 0 ? Arbitrary.Constant({ do: "dismissAll" }) : anyStep
)

/** Two workers that acknowledge have something to do. */
const atTheBeginning: ReadonlyArray<Step> = [
  { do: "join", id: "a", connection: 0, lifecycle: true, prefetch: 5, maxAttempts: 2 },
  { do: "join", id: "b", connection: 0, lifecycle: false, prefetch: 100, maxAttempts: 1 },
  { do: "trigger", count: 8 },
  { do: "announce", count: 2 }
]

/** A worker that takes all that is left, also what waits for its backoff. */
const toTheEnd: ReadonlyArray<Step> = [
  { do: "settleAll" },
  { do: "dismissAll" },
  { do: "join", id: "z", connection: 0, lifecycle: true, prefetch: undefined, maxAttempts: 1 },
  { do: "heard", id: "z", connection: 0 },
  { do: "settleAll" },
  { do: "tick", after: 300 * 64 },
  { do: "settleAll" },
  { do: "settleAll" }
]

/** The text of an event that happens by itself; that of a trigger is its number alone. */
const lifecycleText = (number: number) => `{"${number}":{}}`

/** The lobby with workers that write down what they see. Events are numbered in the order of their happening. */
const makeReal = (lobby: Lobby.Lobby) => {
  let log: Array<string> = []
  let happened = 0
  const settled: Array<string> = []
  const unsettled: Array<
    { readonly event: string; readonly isForGood: boolean; readonly settled: (delivered: boolean) => void }
  > = []
  const handed: Array<Handed> = []
  // The same with every delivery of an event.
  const names = new Map<string, string>()
  const connections = new Map<string, object>()
  const connectionOf = (id: string, connection: number) => {
    const key = `${id}/${connection}`
    if (!connections.has(key)) connections.set(key, {})
    return connections.get(key)!
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = unsettled.splice(index, 1)
    if (one === undefined) return
    if (delivered && one.isForGood) settled.push(one.event)
    one.settled(delivered)
  }

  const carryOut = (step: Step): Effect.Effect<void> => {
    switch (step.do) {
      case "join": {
        const name = `${step.id}/${step.connection}`
        return lobby.register({
          id: step.id,
          connection: connectionOf(step.id, step.connection),
          lifecycle: step.lifecycle,
          prefetch: step.prefetch,
          maxAttempts: step.maxAttempts,
          deliverUnsafe: (json, _origin, settled, delivery) => {
            log.push(`event ${json} to ${name}, ${delivery?.attempt ?? "for good"}`)
            unsettled.push({ event: json, isForGood: delivery === undefined, settled })
            if (delivery === undefined) return
            if (names.has(json) && names.get(json) !== delivery.id) log.push(`another name for ${json}`)
            names.set(json, delivery.id)
            handed.push({ id: step.id, connection: step.connection, text: json })
          },
          heartbeatUnsafe: () => void log.push(`heartbeat to ${name}`),
          dismiss: Effect.sync(() => void log.push(`dismissed ${name}`))
        })
      }
      case "leave":
        return step.connection === undefined
          ? lobby.leave(step.id)
          : lobby.leave(step.id, connectionOf(step.id, step.connection))
      case "heard":
        return Effect.map(
          step.connection === undefined
            ? lobby.heartbeat(step.id)
            : lobby.heartbeat(step.id, connectionOf(step.id, step.connection)),
          (known) => void log.push(`known ${known}`)
        )
      case "trigger":
        return Effect.suspend(() => lobby.enqueue(String(happened++))).pipe(
          Effect.catch(() => Effect.sync(() => void log.push("refused"))),
          Effect.replicateEffect(step.count, { discard: true })
        )
      case "announce":
        return Effect.sync(() => {
          for (let i = 0; i < step.count; i++) lobby.emitUnsafe({ event: String(happened++), data: {} })
        })
      case "tick":
        return Effect.andThen(TestClock.adjust(step.after), lobby.tick)
      case "settle":
        return Effect.sync(() => settle(step.which, step.delivered))
      case "settleAll":
        return Effect.sync(() => {
          while (unsettled.length > 0) settle(0, true)
        })
      case "acknowledge": {
        const [first, ...more] = step.which.flatMap((which) => handedTo(handed, which, step.by) ?? [])
        return first === undefined
          ? Effect.void
          : lobby.ack(
            first.id,
            connectionOf(first.id, first.connection),
            [first, ...more].map(({ text }) => names.get(text)!)
          )
      }
      case "release": {
        const one = handedTo(handed, step.which, step.by)
        return one === undefined
          ? Effect.void
          : lobby.nack(one.id, connectionOf(one.id, one.connection), names.get(one.text)!, step.reason)
      }
      case "acknowledgeAll":
        return Effect.forEach(
          [...handed],
          ({ connection, id, text }) => lobby.ack(id, connectionOf(id, connection), [names.get(text)!]),
          { discard: true }
        )
      case "dismissAll":
        return lobby.dismissAll
    }
  }

  return {
    settled,
    names,
    carryOut,
    seen: () => {
      const seen = log
      log = []
      return seen
    }
  }
}

interface Session {
  readonly id: string
  readonly connection: number
  lastHeard: number
  lastGreeted: number
  unsettled: number
  isReady: boolean
  isNew: boolean
  turn: number
  lifecycle: boolean
  prefetch: number | undefined
  maxAttempts: number
  held: Array<Held>
}

/** One delivery that is to be acknowledged. */
interface Held {
  readonly event: Waiting
}

interface Waiting {
  /** Its place in the order of all that were taken. */
  readonly place: number
  readonly text: string
  readonly isLifecycle: boolean
  attempts: number
  failures: number
  releases: number
  losses: number
}

const makeModel = (
  bound: { readonly queueCapacity: number; readonly queueSize: number },
  retention: number,
  backoff: number,
  maxDeliveries: number
) => {
  let log: Array<string> = []
  // In lived time, which a tick moves by one interval at most.
  let now = 0
  let real = 0
  let delayed: Array<{ readonly event: Waiting; readonly until: number }> = []
  let happened = 0
  let attendedUntil: number | undefined
  let events: Array<Waiting> = []
  let lifecycle: Array<Waiting> = []
  const counters = { accepted: 0, delivered: 0, refused: 0, dropped: 0, acknowledged: 0, redelivered: 0 }
  let turns: Array<Session> = []
  let lastTurn = 0
  const unsettled: Array<{ readonly event: Waiting; readonly session: Session; readonly held: Held | undefined }> = []
  const handed: Array<Handed> = []
  const acknowledged: Array<string> = []
  const settled: Array<string> = []
  const dead: Array<readonly [text: string, attempts: number, reason: unknown]> = []
  const kept = new Set<string>()
  const nameOf = (session: Session) => `${session.id}/${session.connection}`

  const bytes = (some: ReadonlyArray<Waiting>) => some.map(({ text }) => text).join("").length
  const held = () => turns.flatMap(({ held }) => held.map(({ event }) => event))
  const lent = (isLifecycle: boolean) =>
    [...held(), ...unsettled.filter(({ held }) => held === undefined).map(({ event }) => event)]
      .filter((event) => event.isLifecycle === isLifecycle)
  const waitingLonger = (isLifecycle: boolean) =>
    delayed.map(({ event }) => event).filter((event) => event.isLifecycle === isLifecycle)
  const isFull = (isLifecycle: boolean, text: string) => {
    const all = [...isLifecycle ? lifecycle : events, ...waitingLonger(isLifecycle), ...lent(isLifecycle)]
    return all.length >= bound.queueCapacity || bytes(all) + text.length > bound.queueSize
  }
  const canTake = (isLifecycle: boolean) => {
    const inTheirHands = lent(isLifecycle)
    const isRoom = inTheirHands.length < bound.queueCapacity && bytes(inTheirHands) < bound.queueSize
    return ({ held, unsettled, isReady, lifecycle, prefetch }: Session) =>
      isReady && (lifecycle || !isLifecycle) &&
      (prefetch === undefined ? unsettled < 64 : held.length < prefetch && (held.length === 0 || isRoom))
  }
  const loadOf = ({ held, prefetch }: Session) => prefetch === undefined ? 0 : held.length
  const putBack = (...some: ReadonlyArray<Waiting>) => {
    for (const event of some) {
      if (event.isLifecycle) lifecycle = [...lifecycle, event].toSorted((a, b) => a.place - b.place)
      else events = [...events, event].toSorted((a, b) => a.place - b.place)
    }
  }
  const release = (session: Session | undefined, text: string) => {
    const held = session?.held.find(({ event }) => event.text === text)
    if (held !== undefined) session!.held = session!.held.filter((other) => other !== held)
    return held?.event
  }
  const redeliver = (event: Waiting, times: number) => {
    counters.redelivered++
    if (times > 0 && backoff > 0) delayed.push({ event, until: real + backoff * 2 ** Math.min(times - 1, 6) })
    else putBack(event)
  }
  const takeBack = (session: Session, isCounted: boolean) => {
    for (const { event } of session.held) {
      if (isCounted && ++event.losses >= maxDeliveries) dead.push([event.text, event.attempts, expect.anything()])
      else redeliver(event, 0)
    }
    session.held = []
  }
  const remove = (leaving: ReadonlyArray<Session>, isCounted = true) => {
    turns = turns.filter((session) => !leaving.includes(session))
    for (const session of leaving) takeBack(session, isCounted)
    handOver()
  }

  const take = (text: string, isLifecycle: boolean) => {
    const event = { place: counters.accepted++, text, isLifecycle, attempts: 0, failures: 0, releases: 0, losses: 0 }
    kept.add(text)
    if (isLifecycle) lifecycle = [...lifecycle, event]
    else events = [...events, event]
    handOver()
  }
  const dropOldest = () => {
    const [oldest, ...rest] = lifecycle
    lifecycle = rest
    kept.delete(oldest!.text)
    counters.dropped++
  }
  // The oldest event that somebody takes, to the first in turn who does.
  const handOver = () => {
    if (turns.some(({ lifecycle }) => lifecycle)) attendedUntil = Infinity
    else if (attendedUntil === Infinity) attendedUntil = now + retention
    for (;;) {
      const heads = [events[0], lifecycle[0]].filter((event) => event !== undefined)
        .toSorted((a, b) => a.place - b.place)
      const takerOf = (event: Waiting) =>
        turns.filter(canTake(event.isLifecycle)).toSorted((a, b) => loadOf(a) - loadOf(b) || a.turn - b.turn)[0]
      const event = heads.find((event) => takerOf(event) !== undefined)
      if (event === undefined) return
      const session = takerOf(event)!
      events = events.filter((other) => other !== event)
      lifecycle = lifecycle.filter((other) => other !== event)
      session.turn = ++lastTurn
      session.unsettled++
      const held = session.prefetch === undefined ? undefined : { event }
      unsettled.push({ event, session, held })
      if (held === undefined) log.push(`event ${event.text} to ${nameOf(session)}, for good`)
      else {
        session.held.push(held)
        handed.push({ id: session.id, connection: session.connection, text: event.text })
        log.push(`event ${event.text} to ${nameOf(session)}, ${++event.attempts}`)
      }
    }
  }
  const greet = (session: Session) => {
    session.lastGreeted = now
    log.push(`heartbeat to ${nameOf(session)}`)
  }
  const dismiss = (leaving: ReadonlyArray<Session>, isCounted: boolean) => {
    remove(leaving, isCounted)
    for (const session of leaving) log.push(`dismissed ${nameOf(session)}`)
  }
  const sessionOf = ({ connection, id }: Speaker) =>
    turns.find((session) => session.id === id && session.connection === connection)
  const acknowledge = (by: Speaker, text: string) => {
    const event = release(sessionOf(by), text)
    if (event === undefined) return
    acknowledged.push(event.text)
    counters.acknowledged++
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = unsettled.splice(index, 1)
    if (one === undefined) return
    one.session.unsettled--
    if (delivered) counters.delivered++
    if (delivered && one.held === undefined) settled.push(one.event.text)
    if (!delivered) {
      one.session.isReady = false
      if (one.held === undefined) putBack(one.event)
      else if (one.session.held.includes(one.held)) {
        one.session.held = one.session.held.filter((other) => other !== one.held)
        one.event.attempts--
        putBack(one.event)
      }
    }
    handOver()
  }
  const hear = (session: Session) => {
    session.lastHeard = now
    if (!session.isNew || session.prefetch !== undefined) greet(session)
    session.isNew = false
    session.isReady = true
    handOver()
  }

  const carryOut = (step: Step): void => {
    const session = "id" in step ? turns.find(({ id }) => id === step.id) : undefined
    switch (step.do) {
      case "join": {
        if (session?.connection === step.connection) {
          session.lifecycle = step.lifecycle
          session.prefetch = step.prefetch
          session.maxAttempts = step.maxAttempts
          session.lastHeard = now
          session.isReady ||= !session.isNew || step.prefetch !== undefined
          greet(session)
          return handOver()
        }
        const fresh = {
          id: step.id,
          connection: step.connection,
          lifecycle: step.lifecycle,
          prefetch: step.prefetch,
          maxAttempts: step.maxAttempts,
          held: [],
          lastHeard: now,
          lastGreeted: now,
          unsettled: 0,
          isReady: step.prefetch !== undefined,
          isNew: true,
          turn: session === undefined ? ++lastTurn : session.turn
        }
        turns = session === undefined ? [...turns, fresh] : turns.map((other) => other === session ? fresh : other)
        if (session !== undefined) takeBack(session, true)
        greet(fresh)
        return handOver()
      }
      case "leave":
        if (step.connection !== undefined && session?.connection !== step.connection) return
        if (session !== undefined) remove([session])
        return
      case "heard": {
        const known = session !== undefined && (step.connection ?? session.connection) === session.connection
        if (known) hear(session)
        log.push(`known ${known}`)
        return
      }
      case "trigger":
        for (let i = 0; i < step.count; i++) {
          const text = String(happened++)
          if (!isFull(false, text) || turns.some(canTake(false))) take(text, false)
          else {
            counters.refused++
            log.push("refused")
          }
        }
        return
      case "announce":
        for (let i = 0; i < step.count; i++) {
          const text = lifecycleText(happened++)
          if (attendedUntil === undefined) continue
          while (lifecycle.length > 0 && isFull(true, text)) dropOldest()
          take(text, true)
        }
        return
      case "tick":
        now += Math.min(step.after, 500)
        real += step.after
        putBack(...delayed.filter(({ until }) => until <= real).map(({ event }) => event))
        delayed = delayed.filter(({ until }) => until > real)
        handOver()
        if (attendedUntil !== undefined && now > attendedUntil) attendedUntil = undefined
        while (attendedUntil === undefined && lifecycle.length > 0) dropOldest()
        for (const session of turns) {
          if (now - session.lastHeard > 1500 || now - session.lastGreeted < 250) continue
          if (!session.isNew || session.prefetch !== undefined) greet(session)
          else {
            session.isNew = false
            session.isReady = true
          }
        }
        handOver()
        return dismiss(turns.filter((session) => now - session.lastHeard > 1500), true)
      case "settle":
        return settle(step.which, step.delivered)
      case "settleAll":
        while (unsettled.length > 0) settle(0, true)
        return
      case "acknowledge": {
        const all = step.which.flatMap((which) => handedTo(handed, which, step.by) ?? [])
        for (const { text } of all) acknowledge(all[0]!, text)
        return handOver()
      }
      case "release": {
        const one = handedTo(handed, step.which, step.by)
        const by = one && sessionOf(one)
        const event = one && release(by, one.text)
        if (event === undefined) return
        if (step.reason === "") redeliver(event, event.releases++)
        else if (++event.failures >= by!.maxAttempts) dead.push([event.text, event.attempts, step.reason])
        else redeliver(event, event.failures)
        return handOver()
      }
      case "acknowledgeAll":
        for (const one of [...handed]) {
          acknowledge(one, one.text)
          handOver()
        }
        return
      case "dismissAll":
        return dismiss(turns, false)
    }
  }

  return {
    carryOut,
    kept: () => [...kept].toSorted(),
    acknowledged: () => acknowledged,
    dead: () => dead,
    places: () =>
      [
        ...[...events, ...lifecycle, ...delayed.map(({ event }) => event), ...lent(true), ...lent(false)]
          .map(({ text }) => text),
        ...settled,
        ...acknowledged,
        ...dead.map(([text]) => text)
      ].toSorted(),
    counters: () => ({
      ...counters,
      unacknowledged: held().length,
      queued: events.length + lifecycle.length + delayed.length,
      workers: turns.length
    }),
    info: () => ({ queued: events.length + waitingLonger(false).length, workers: turns.map(({ id }) => id) }),
    seen: () => {
      const seen = log
      log = []
      return seen
    }
  }
}
