import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as Lobby from "../../../src/server/engine/Lobby.ts"
import { int, oneOf, pick } from "../../protocol/arbitraries.ts"

const make = (options?: {
  readonly queueCapacity?: number
  readonly queueSize?: number
  readonly maxMessageSize?: number
}) =>
  Lobby.make({
    queueCapacity: 10_000,
    heartbeatInterval: Duration.millis(500),
    missedHeartbeats: 3,
    lifecycleRetention: Duration.minutes(1),
    maxMessageSize: 1_048_576,
    queueSize: 64 * 1_048_576,
    ...options
  })

interface FakeWorker extends Lobby.Worker {
  /** What it was given and has not settled. */
  readonly inHand: Array<{ readonly json: string; readonly settle: (delivered: boolean) => void }>
  /** Everything it was given, in order. */
  readonly given: Array<string>
  /** What happened to it, in order. */
  readonly log: Array<string>
}

/** A worker that keeps what it is given in hand, or settles it at once. */
const worker = (id: string, options?: { readonly connection?: object; readonly settles?: boolean }): FakeWorker => {
  const self: FakeWorker = {
    id,
    connection: options?.connection ?? {},
    lifecycle: false,
    inHand: [],
    given: [],
    log: [],
    deliverUnsafe: (json, _origin, settled) => {
      self.given.push(json)
      self.log.push(json)
      if (options?.settles !== undefined) return settled(options.settles)
      self.inHand.push({
        json,
        settle: (delivered) => {
          self.inHand.splice(self.inHand.findIndex((event) => event.json === json), 1)
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
  Effect.forEach(events, (event) => lobby.trigger(event), { discard: true })

describe("Lobby", () => {
  describe("handing over", () => {
    it.effect("keeps events while nobody is there, and gives them in order to who comes", () =>
      Effect.gen(function*() {
        const lobby = make()
        yield* trigger(lobby, ...numbers(0, 10))
        expect(yield* lobby.info).toEqual({ waiting: 10, workers: [] })
        const a = worker("a")
        yield* lobby.join(a)
        expect(a.given).toEqual(numbers(0, 10))
        expect(yield* lobby.info).toEqual({ waiting: 0, workers: ["a"] })
      }))

    it.effect("greets who comes before it gives anything", () =>
      Effect.gen(function*() {
        const lobby = make()
        yield* trigger(lobby, "e0")
        const a = worker("a")
        yield* lobby.join(a)
        expect(a.log).toEqual(["heartbeat", "e0"])
      }))

    it.effect("goes round robin over those that are there", () =>
      Effect.gen(function*() {
        const lobby = make()
        const all = [worker("a"), worker("b"), worker("c")]
        yield* Effect.forEach(all, lobby.join)
        yield* trigger(lobby, ...numbers(0, 7))
        expect(all.map(({ given }) => given)).toEqual([["e0", "e3", "e6"], ["e1", "e4"], ["e2", "e5"]])
        yield* lobby.leave("b")
        yield* trigger(lobby, ...numbers(7, 11))
        expect(all.map(({ given }) => given.slice(2))).toEqual([["e6", "e8", "e10"], [], ["e7", "e9"]])
      }))

    it.effect("goes on when the first, the last and the only worker leave", () =>
      Effect.gen(function*() {
        // The original's ring spun for ever after the first had left.
        const lobby = make()
        const [a, b, c] = [worker("a"), worker("b"), worker("c")]
        yield* lobby.join(a)
        yield* lobby.leave("a")
        yield* trigger(lobby, "e0")
        yield* Effect.forEach([b, c], lobby.join)
        yield* trigger(lobby, "e1", "e2")
        yield* lobby.leave("c")
        yield* trigger(lobby, "e3")
        expect([a.given, b.given, c.given]).toEqual([[], ["e0", "e1", "e3"], ["e2"]])
      }))

    it.effect("has at most 64 events on their way to one worker, and goes past it to the others", () =>
      Effect.gen(function*() {
        const lobby = make()
        const slow = worker("slow")
        yield* lobby.join(slow)
        yield* trigger(lobby, ...numbers(0, 70))
        expect(slow.given).toEqual(numbers(0, 64))
        expect((yield* lobby.info).waiting).toBe(6)
        const quick = worker("quick", { settles: true })
        yield* lobby.join(quick)
        expect(quick.given).toEqual(numbers(64, 70))
        yield* trigger(lobby, "e70")
        expect(quick.given.at(-1)).toBe("e70")
        // One that settles makes room for one.
        slow.inHand[0]!.settle(true)
        yield* trigger(lobby, "e71", "e72")
        expect([slow.given.slice(64), quick.given.slice(7)]).toEqual([["e71"], ["e72"]])
      }))

    it.effect("gives the next one as soon as there is room, without being asked", () =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        yield* trigger(lobby, ...numbers(0, 66))
        a.inHand[10]!.settle(true)
        a.inHand[0]!.settle(true)
        expect(a.given).toEqual(numbers(0, 66))
      }))

    it.effect("empties a long line into a worker that settles at once", () =>
      Effect.gen(function*() {
        const lobby = make()
        yield* trigger(lobby, ...numbers(0, 10_000))
        const a = worker("a", { settles: true })
        yield* lobby.join(a)
        expect(a.given).toEqual(numbers(0, 10_000))
        expect((yield* lobby.info).waiting).toBe(0)
      }))

    it.effect("refuses what is beyond the bound in bytes, or too large for any worker", () =>
      Effect.gen(function*() {
        const lobby = make({ queueSize: 100, maxMessageSize: 356 })
        yield* lobby.trigger("x".repeat(60))
        expect((yield* Effect.flip(lobby.trigger("x".repeat(41)))).code).toBe(597)
        yield* lobby.trigger("x".repeat(40))
        const a = worker("a", { settles: true })
        yield* lobby.join(a)
        expect((yield* lobby.info).waiting).toBe(0)
        expect((yield* Effect.flip(lobby.trigger("é".repeat(51)))).code).toBe(597)
        yield* lobby.trigger("x".repeat(100))
        expect(a.given.length).toBe(3)
      }))

    it.effect("refuses what is beyond the bound with 597, and takes events again when there is room", () =>
      Effect.gen(function*() {
        const lobby = make({ queueCapacity: 3 })
        yield* trigger(lobby, "e0", "e1", "e2")
        const failure = yield* Effect.flip(lobby.trigger("refused"))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        expect((yield* lobby.info).waiting).toBe(3)
        const a = worker("a")
        yield* lobby.join(a)
        yield* trigger(lobby, "e3")
        expect(a.given).toEqual(["e0", "e1", "e2", "e3"])
      }))
  })

  it.effect("refuses what would make the line longer than so many bytes with 597, until some are gone", () =>
    Effect.gen(function*() {
      const lobby = make({ queueSize: 20 })
      const [a, b] = [worker("a"), worker("b")]
      yield* trigger(lobby, "12345678", "żżżż")
      expect(yield* Effect.flip(lobby.trigger("12345"))).toBeInstanceOf(InternalError)
      // What is small enough still fits.
      yield* lobby.trigger("1234")
      yield* Effect.flip(lobby.trigger("1"))
      yield* lobby.join(a)
      yield* lobby.leave("a")
      expect(a.given).toEqual(["12345678", "żżżż", "1234"])
      yield* trigger(lobby, "123456789")
      // What comes back counts again, and more than the bound is kept rather than lost.
      for (const { settle } of [...a.inHand]) settle(false)
      expect((yield* lobby.info).waiting).toBe(4)
      yield* Effect.flip(lobby.trigger("1"))
      yield* lobby.join(b)
      expect(b.given).toEqual(["12345678", "żżżż", "1234", "123456789"])
      yield* lobby.leave("b")
      yield* trigger(lobby, "12345678901234567890")
    }))

  it.effect("hands over to who is ready even where nothing may wait", () =>
    Effect.gen(function*() {
      for (const options of [{ queueCapacity: 0 }, { queueSize: 0 }]) {
        const lobby = make(options)
        yield* Effect.flip(lobby.trigger("e0"))
        const a = worker("a")
        yield* lobby.join(a)
        yield* lobby.trigger("e1")
        expect(a.given).toEqual(["e1"])
        yield* lobby.leave("a")
        yield* Effect.flip(lobby.trigger("e2"))
      }
    }))

  it.effect("refuses what a worker's connection could not carry with 597, counted in bytes, whoever is there", () =>
    Effect.gen(function*() {
      const lobby = make({ maxMessageSize: 1000 })
      const a = worker("a")
      // Something of the bound is kept for what a transport puts around.
      const fits = `{"e":{"text":"${"ż".repeat(350)}"}}`
      const doesNot = `{"e":{"text":"${"ż".repeat(493)}"}}`
      for (const join of [Effect.void, lobby.join(a)]) {
        yield* join
        const failure = yield* Effect.flip(lobby.trigger(doesNot))
        expect(failure).toBeInstanceOf(InternalError)
        expect(failure.code).toBe(597)
        yield* lobby.trigger(fits)
      }
      expect(a.given).toEqual([fits, fits])
    }))

  describe("a delivery that fails", () => {
    it.effect("goes to another worker, and the one it failed at gets nothing until it is heard", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.join(a)
        yield* lobby.join(b)
        yield* trigger(lobby, "e0")
        a.inHand[0]!.settle(false)
        expect(b.given).toEqual(["e0"])
        yield* trigger(lobby, "e1", "e2")
        expect([a.given, b.given]).toEqual([["e0"], ["e0", "e1", "e2"]])
        yield* lobby.heard("a")
        yield* trigger(lobby, "e3", "e4")
        expect([a.given, b.given]).toEqual([["e0", "e3"], ["e0", "e1", "e2", "e4"]])
      }))

    it.effect.each<[string, ReadonlyArray<number>]>([
      ["first to last", [0, 1, 2, 3]],
      ["last to first", [3, 2, 1, 0]],
      ["from the middle", [1, 3, 0, 2]]
    ])("goes back to its old place in line, failing %s", ([_, order]) =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        yield* trigger(lobby, ...numbers(0, 4))
        const inHand = [...a.inHand]
        inHand[order[0]!]!.settle(false)
        // The line goes on behind them.
        yield* trigger(lobby, "e4", "e5")
        for (const index of order.slice(1)) inHand[index]!.settle(false)
        expect((yield* lobby.info).waiting).toBe(6)
        const b = worker("b")
        yield* lobby.join(b)
        expect(b.given).toEqual(numbers(0, 6))
      }))

    it.effect("is given again to the same worker when that is heard", () =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        yield* trigger(lobby, "e0", "e1")
        a.inHand[1]!.settle(false)
        a.inHand[0]!.settle(false)
        expect(a.given).toEqual(["e0", "e1"])
        yield* lobby.heard("a")
        expect(a.given).toEqual(["e0", "e1", "e0", "e1"])
        expect((yield* lobby.info).waiting).toBe(0)
      }))

    it.effect("is given to the others where it fails at once", () =>
      Effect.gen(function*() {
        const lobby = make()
        const broken = Array.from({ length: 5 }, (_, index) => worker(`broken${index}`, { settles: false }))
        yield* Effect.forEach(broken, lobby.join)
        yield* trigger(lobby, "e0", "e1")
        expect((yield* lobby.info).waiting).toBe(2)
        const a = worker("a")
        yield* lobby.join(a)
        expect(a.given).toEqual(["e0", "e1"])
        expect(broken.map(({ given }) => given)).toEqual(broken.map(() => ["e0"]))
      }))

    it.effect("is given to another where the worker has left, been dismissed or been replaced meanwhile", () =>
      Effect.gen(function*() {
        for (const go of ["leave", "expire", "replace"] as const) {
          const lobby = make()
          const [a, b, again] = [worker("a"), worker("b"), worker("a")]
          yield* lobby.join(a)
          yield* trigger(lobby, "e0", "e1")
          if (go === "leave") yield* lobby.leave("a")
          if (go === "replace") yield* lobby.join(again)
          if (go === "expire") {
            yield* TestClock.adjust("2 seconds")
            yield* lobby.tick
          }
          yield* lobby.join(b)
          const [first, second] = a.inHand
          second!.settle(true)
          first!.settle(false)
          expect([...again.given, ...b.given]).toEqual(["e0"])
          expect((yield* lobby.info).waiting).toBe(0)
        }
      }))
  })

  describe("coming and going", () => {
    it.effect("knows who is there", () =>
      Effect.gen(function*() {
        const lobby = make()
        expect(yield* lobby.heard("a")).toBe(false)
        yield* lobby.join(worker("a"))
        expect(yield* lobby.heard("a")).toBe(true)
        expect(yield* lobby.heard("b")).toBe(false)
        expect(yield* lobby.heard("b", {})).toBe(false)
        yield* lobby.leave("a")
        expect(yield* lobby.heard("a")).toBe(false)
        yield* lobby.leave("a")
        expect((yield* lobby.info).workers).toEqual([])
      }))

    it.effect("answers each sign of life with one", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.join(a)
        yield* lobby.join(b)
        yield* lobby.heard("a")
        yield* lobby.heard("a")
        expect(a.log).toEqual(["heartbeat", "heartbeat", "heartbeat"])
        expect(b.log).toEqual(["heartbeat"])
      }))

    it.effect("lets one that says it is ready again just go on, in its turn", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.join(a)
        yield* lobby.join(b)
        yield* trigger(lobby, "e0")
        yield* lobby.join(a)
        yield* trigger(lobby, "e1", "e2")
        expect([a.given, b.given]).toEqual([["e0", "e2"], ["e1"]])
        expect((yield* lobby.info).workers.length).toBe(2)
        expect(a.log).not.toContain("dismissed")
      }))

    it.effect("gives everything to the new connection where one takes the place of another", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.join(old)
        yield* trigger(lobby, "e0")
        yield* lobby.join(fresh)
        yield* trigger(lobby, "e1", "e2")
        expect([old.given, fresh.given]).toEqual([["e0"], ["e1", "e2"]])
        expect((yield* lobby.info).workers).toEqual(["a"])
        yield* lobby.heard("a")
        expect([old.log.filter((entry) => entry === "heartbeat").length, fresh.log]).toEqual([
          1,
          ["heartbeat", "e1", "e2", "heartbeat"]
        ])
      }))

    it.effect("does not hold the end of an old connection against the new one", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.join(old)
        yield* trigger(lobby, ...numbers(0, 64))
        yield* lobby.join(fresh)
        // Nothing is on its way to the new one yet.
        yield* trigger(lobby, "e64")
        expect(fresh.given).toEqual(["e64"])
        // What failed on the old connection goes to the new one at once.
        old.inHand[0]!.settle(false)
        expect(fresh.given).toEqual(["e64", "e0"])
      }))

    it.effect("hears a worker on its own connection alone", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.join(old)
        yield* lobby.join(fresh)
        expect(yield* lobby.heard("a", old.connection)).toBe(false)
        expect(yield* lobby.heard("a", fresh.connection)).toBe(true)
        expect([old.log, fresh.log]).toEqual([["heartbeat"], ["heartbeat", "heartbeat"]])
        // What the old one says keeps nobody alive.
        yield* TestClock.adjust("2 seconds")
        yield* lobby.heard("a", old.connection)
        yield* lobby.tick
        expect([old.log.at(-1), fresh.log.at(-1)]).toEqual(["heartbeat", "dismissed"])
      }))

    it.effect("removes a worker for the end of its own connection alone", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [old, fresh] = [worker("a"), worker("a")]
        yield* lobby.join(old)
        yield* lobby.join(fresh)
        yield* lobby.leave("a", old.connection)
        expect((yield* lobby.info).workers).toEqual(["a"])
        yield* lobby.leave("b", fresh.connection)
        expect((yield* lobby.info).workers).toEqual(["a"])
        yield* lobby.leave("a", fresh.connection)
        expect((yield* lobby.info).workers).toEqual([])
        expect([...old.log, ...fresh.log]).not.toContain("dismissed")
      }))

    it.effect("dismisses everybody, and keeps what waits", () =>
      Effect.gen(function*() {
        const lobby = make()
        const all = [worker("a"), worker("b")]
        yield* Effect.forEach(all, lobby.join)
        yield* lobby.dismissAll
        expect(all.map(({ log }) => log)).toEqual([["heartbeat", "dismissed"], ["heartbeat", "dismissed"]])
        expect((yield* lobby.info).workers).toEqual([])
        yield* trigger(lobby, "e0")
        expect((yield* lobby.info).waiting).toBe(1)
        yield* lobby.dismissAll
        expect(all[0]!.log.length).toBe(2)
      }))
  })

  describe("time", () => {
    const tickAfter = (lobby: Lobby.Lobby, millis: number) => Effect.andThen(TestClock.adjust(millis), lobby.tick)

    it.effect("greets a silent worker at every tick, and dismisses it after three missed heartbeats", () =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        for (let tick = 1; tick <= 3; tick++) {
          yield* tickAfter(lobby, 500)
          expect(a.log.length).toBe(1 + tick)
        }
        yield* tickAfter(lobby, 500)
        expect(a.log).toEqual(["heartbeat", "heartbeat", "heartbeat", "heartbeat", "dismissed"])
        expect(yield* lobby.heard("a")).toBe(false)
        yield* tickAfter(lobby, 500)
        expect(a.log.length).toBe(5)
      }))

    it.effect("keeps a worker for as long as it is heard, by whatever it says", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.join(a)
        yield* lobby.join(b)
        for (let i = 0; i < 10; i++) {
          yield* tickAfter(lobby, 1500)
          yield* lobby.heard("a")
          yield* lobby.join(b)
        }
        expect([...a.log, ...b.log]).not.toContain("dismissed")
        expect((yield* lobby.info).workers.length).toBe(2)
      }))

    it.effect("does not take deliveries or greetings for signs of life", () =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a", { settles: true })
        yield* lobby.join(a)
        for (let i = 0; i < 4; i++) {
          yield* trigger(lobby, `e${i}`)
          yield* tickAfter(lobby, 500)
        }
        expect(a.log.at(-1)).toBe("dismissed")
      }))

    it.effect("greets one that speaks itself by its answers alone", () =>
      Effect.gen(function*() {
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        for (let i = 0; i < 10; i++) {
          yield* TestClock.adjust(400)
          yield* lobby.heard("a")
          yield* tickAfter(lobby, 100)
        }
        expect(a.log.length).toBe(11)
      }))

    it.effect("greets once an interval even where it is ticked more often", () =>
      Effect.gen(function*() {
        // As where a vhost is behind two backend endpoints, each with a clock of its own.
        const lobby = make()
        const a = worker("a")
        yield* lobby.join(a)
        for (let i = 0; i < 3; i++) {
          yield* tickAfter(lobby, 400)
          yield* tickAfter(lobby, 100)
        }
        expect(a.log.length).toBe(4)
      }))

    it.effect("gives the events of a worker that is dismissed unheard to the next", () =>
      Effect.gen(function*() {
        const lobby = make()
        const [a, b] = [worker("a"), worker("b")]
        yield* lobby.join(a)
        yield* trigger(lobby, ...numbers(0, 70))
        yield* tickAfter(lobby, 1501)
        expect(a.log.at(-1)).toBe("dismissed")
        yield* lobby.join(b)
        expect(b.given).toEqual(numbers(64, 70))
      }))
  })

  describe("property", () => {
    it.effect.prop("what happens equals a model, and every event goes to exactly one worker", [
      Arbitrary.array(step, { maxLength: 80 })
    ], ([steps]) =>
      Effect.gen(function*() {
        const lobby = Lobby.make({
          queueCapacity: 20,
          queueSize: 36,
          heartbeatInterval: Duration.millis(500),
          missedHeartbeats: 3,
          lifecycleRetention: Duration.minutes(1),
          maxMessageSize: 1_048_576
        })
        const real = makeReal(lobby)
        const model = makeModel({ capacity: 20, size: 36 })
        for (const step of [...steps, ...toTheEnd]) {
          yield* real.carryOut(step)
          model.carryOut(step)
          expect(real.seen()).toEqual(model.seen())
          expect(yield* lobby.info).toEqual(model.info())
        }
        // Everything that was taken has been given, once for good.
        expect(real.settled.toSorted((a, b) => a - b)).toEqual(model.taken())
      }), { arbitrary: { runs: 400, size: 80 } })
  })
})

// --- The model -----------------------------------------------------------------------------------------------------------

type Step =
  | { readonly do: "join"; readonly id: string; readonly connection: number }
  | { readonly do: "leave"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "heard"; readonly id: string; readonly connection: number | undefined }
  | { readonly do: "trigger"; readonly count: number }
  | { readonly do: "tick"; readonly after: number }
  /** Settles one of what is in hand, counted from the oldest. */
  | { readonly do: "settle"; readonly which: number; readonly delivered: boolean }
  | { readonly do: "settleAll" }
  | { readonly do: "dismissAll" }

const id = pick(["a", "b", "c"])

const anyStep: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(Arbitrary.all({ id, connection: int(0, 1) }), (join) => ({ do: "join", ...join })),
  Arbitrary.map(Arbitrary.all({ id, connection: pick([0, 1, undefined]) }), (leave) => ({ do: "leave", ...leave })),
  Arbitrary.map(Arbitrary.all({ id, connection: pick([0, 1, undefined]) }), (heard) => ({ do: "heard", ...heard })),
  Arbitrary.map(pick([1, 1, 1, 2, 5, 70]), (count) => ({ do: "trigger", count })),
  Arbitrary.map(pick([0, 100, 250, 500, 500, 1500, 1501]), (after) => ({ do: "tick", after })),
  Arbitrary.map(
    Arbitrary.all({ which: int(0, 70), delivered: pick([true, false]) }),
    (settle) => ({ do: "settle", ...settle })
  ),
  Arbitrary.Constant({ do: "settleAll" })
)

// Dismissing all is rare, or nothing would ever be there.
const step: Arbitrary.Arbitrary<Step> = Arbitrary.flatMap(
  int(0, 30),
  (n): Arbitrary.Arbitrary<Step> => n === 0 ? Arbitrary.Constant({ do: "dismissAll" }) : anyStep
)

/** A worker that takes all that is left. */
const toTheEnd: ReadonlyArray<Step> = [
  { do: "settleAll" },
  { do: "join", id: "z", connection: 0 },
  { do: "settleAll" },
  { do: "settleAll" },
  { do: "settleAll" }
]

/** The lobby with workers that write down what they see. Events are numbered in the order of their triggers. */
const makeReal = (lobby: Lobby.Lobby) => {
  let log: Array<string> = []
  let triggered = 0
  const settled: Array<number> = []
  const inHand: Array<{ readonly event: number; readonly settled: (delivered: boolean) => void }> = []
  const connections = new Map<string, object>()
  const connectionOf = (id: string, connection: number) => {
    const key = `${id}/${connection}`
    if (!connections.has(key)) connections.set(key, {})
    return connections.get(key)!
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = inHand.splice(index, 1)
    if (one === undefined) return
    if (delivered) settled.push(one.event)
    one.settled(delivered)
  }

  const carryOut = (step: Step): Effect.Effect<void> => {
    switch (step.do) {
      case "join": {
        const name = `${step.id}/${step.connection}`
        return lobby.join({
          id: step.id,
          connection: connectionOf(step.id, step.connection),
          lifecycle: false,
          deliverUnsafe: (json, _origin, settled) => {
            log.push(`event ${json} to ${name}`)
            inHand.push({ event: Number(json), settled })
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
            ? lobby.heard(step.id)
            : lobby.heard(step.id, connectionOf(step.id, step.connection)),
          (known) => void log.push(`known ${known}`)
        )
      case "trigger":
        return Effect.suspend(() => lobby.trigger(String(triggered++))).pipe(
          Effect.catch(() => Effect.sync(() => void log.push("refused"))),
          Effect.replicateEffect(step.count, { discard: true })
        )
      case "tick":
        return Effect.andThen(TestClock.adjust(step.after), lobby.tick)
      case "settle":
        return Effect.sync(() => settle(step.which, step.delivered))
      case "settleAll":
        return Effect.sync(() => {
          while (inHand.length > 0) settle(0, true)
        })
      case "dismissAll":
        return lobby.dismissAll
    }
  }

  return {
    settled,
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
  inHand: number
  isReady: boolean
}

const makeModel = (bound: { readonly capacity: number; readonly size: number }) => {
  let log: Array<string> = []
  let now = 0
  let triggered = 0
  let line: Array<number> = []
  // The one whose turn it is comes first.
  let turns: Array<Session> = []
  const inHand: Array<{ readonly event: number; readonly session: Session }> = []
  const taken: Array<number> = []
  const nameOf = (session: Session) => `${session.id}/${session.connection}`

  const handOver = () => {
    for (;;) {
      const session = turns.find(({ inHand, isReady }) => isReady && inHand < 64)
      const event = line[0]
      if (session === undefined || event === undefined) return
      line = line.slice(1)
      turns = [...turns.filter((other) => other !== session), session]
      session.inHand++
      inHand.push({ event, session })
      log.push(`event ${event} to ${nameOf(session)}`)
    }
  }
  const greet = (session: Session) => {
    session.lastGreeted = now
    log.push(`heartbeat to ${nameOf(session)}`)
  }
  const dismiss = (session: Session) => {
    turns = turns.filter((other) => other !== session)
    log.push(`dismissed ${nameOf(session)}`)
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = inHand.splice(index, 1)
    if (one === undefined) return
    one.session.inHand--
    if (!delivered) {
      one.session.isReady = false
      line = [...line, one.event].toSorted((a, b) => a - b)
    }
    handOver()
  }
  const hear = (session: Session) => {
    session.lastHeard = now
    session.isReady = true
    greet(session)
    handOver()
  }

  const carryOut = (step: Step): void => {
    const session = "id" in step ? turns.find(({ id }) => id === step.id) : undefined
    switch (step.do) {
      case "join": {
        if (session?.connection === step.connection) return hear(session)
        const fresh = {
          id: step.id,
          connection: step.connection,
          lifecycle: false,
          lastHeard: now,
          lastGreeted: now,
          inHand: 0,
          isReady: true
        }
        turns = session === undefined ? [...turns, fresh] : turns.map((other) => other === session ? fresh : other)
        return hear(fresh)
      }
      case "leave":
        if (step.connection !== undefined && session?.connection !== step.connection) return
        turns = turns.filter((other) => other !== session)
        return
      case "heard": {
        const known = session !== undefined && (step.connection ?? session.connection) === session.connection
        if (known) hear(session)
        log.push(`known ${known}`)
        return
      }
      case "trigger":
        for (let i = 0; i < step.count; i++) {
          const event = triggered++
          if (line.length >= bound.capacity || [...line, event].join("").length > bound.size) {
            log.push("refused")
          } else {
            taken.push(event)
            line.push(event)
            handOver()
          }
        }
        return
      case "tick":
        now += step.after
        for (const session of turns) {
          if (now - session.lastHeard > 1500) dismiss(session)
          else if (now - session.lastGreeted >= 250) greet(session)
        }
        return
      case "settle":
        return settle(step.which, step.delivered)
      case "settleAll":
        while (inHand.length > 0) settle(0, true)
        return
      case "dismissAll":
        for (const session of turns) dismiss(session)
    }
  }

  return {
    carryOut,
    taken: () => taken,
    info: () => ({ waiting: line.length, workers: turns.map(({ id }) => id) }),
    seen: () => {
      const seen = log
      log = []
      return seen
    }
  }
}
