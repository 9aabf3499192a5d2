/**
 * The dead letters of a vhost: those of a single broker, and those that several nodes share in Redis.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { UndefinedHandlerError } from "../../../src/protocol/KosmonautError.ts"
import * as DeadLetters from "../../../src/server/engine/DeadLetters.ts"
import * as SharedDeadLetters from "../../../src/server/engine/internal/sharedDeadLetters.ts"
import * as SharedQueue from "../../../src/server/engine/internal/sharedQueue.ts"
import * as Timeline from "../../../src/server/engine/internal/timeline.ts"
import * as RedisQueue from "../../harness/redisQueue.ts"
import { isInstalled } from "../../harness/redisServer.ts"
import { int, oneOf } from "../../protocol/arbitraries.ts"

type Options = Partial<Pick<Parameters<typeof DeadLetters.make>[0], "deadLetterCapacity" | "deadLetterSize">>

type Makes = (options?: Options) => Effect.Effect<DeadLetters.DeadLetters, never, Scope.Scope>

const standard = { deadLetterCapacity: 1000, deadLetterSize: 1_000_000 }

const makeLocal = (options?: Partial<Parameters<typeof DeadLetters.make>[0]>) =>
  Effect.map(Clock.Clock, (clock) => DeadLetters.make({ ...standard, clock, ...options }))

const makeShared: Makes = Effect.fnUntraced(function*(options) {
  const clock = yield* Clock.Clock
  const redis = yield* Effect.orDie(RedisQueue.make)
  const { queues } = yield* Effect.orDie(redis.node(() => clock.currentTimeMillisUnsafe()))
  yield* Effect.forkScoped(queues.listen)
  const shared = queues.queueOf("/test", { ...RedisQueue.limits, ...standard, ...options })
  const queue = SharedQueue.make(shared, { deliver: () => {}, timeline: Timeline.make(clock, 500) })
  yield* Effect.forkScoped(queue.run)
  return SharedDeadLetters.make(shared, queue).deadLetters
})

const kinds: ReadonlyArray<readonly [name: string, Makes, runs: number]> = [
  ["of a single broker", makeLocal, 100],
  ...isInstalled ? [["of several nodes, in Redis", makeShared, 5] as const] : []
]
if (!isInstalled) process.stderr.write(`Skipped the dead letters in Redis: redis-server was not found on the PATH.\n`)

const letter = (id: string, more?: Partial<DeadLetters.DeadLetter>) => ({
  id,
  json: "",
  origin: undefined,
  attempts: 1,
  reason: "",
  ...more
})

const addAll = (letters: DeadLetters.DeadLetters, ...ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id) => letters.add(letter(id)), { discard: true })

const idsOf = (letters: ReadonlyArray<DeadLetters.DeadLetter>) => letters.map(({ id }) => id)

describe.each(kinds)("the dead letters %s", (_, make, runs) => {
  it.effect("lists dead letters with the time of their failure, the oldest first", () =>
    Effect.gen(function*() {
      const letters = yield* make()
      expect(yield* letters.list).toEqual([])
      yield* TestClock.adjust(7)
      const first = letter("b", { json: `{"e":{}}`, origin: `{"sid":"s"}`, attempts: 3, reason: "it failed" })
      yield* letters.add(first)
      yield* TestClock.adjust(5)
      yield* letters.add(letter("a"))
      expect(yield* letters.list).toEqual([{ ...first, failedAt: 7 }, { ...letter("a"), failedAt: 12 }])
      expect(letters.counters).toMatchObject({ count: 2, dropped: 0 })
    }))

  it.effect("takes one, once, and leaves the others in their order", () =>
    Effect.gen(function*() {
      const letters = yield* make()
      yield* addAll(letters, "a", "b", "c")
      expect(yield* letters.take("b")).toMatchObject({ id: "b" })
      expect(yield* letters.take("b")).toBe(undefined)
      expect(yield* letters.take("__proto__")).toBe(undefined)
      expect(idsOf(yield* letters.list)).toEqual(["a", "c"])
      // One that is given out is not dropped.
      expect(letters.counters).toMatchObject({ count: 2, dropped: 0 })
    }))

  it.effect("takes all, the oldest first", () =>
    Effect.gen(function*() {
      const letters = yield* make()
      yield* addAll(letters, "b", "a", "c")
      expect(idsOf(yield* letters.takeAll)).toEqual(["b", "a", "c"])
      expect([yield* letters.takeAll, yield* letters.list]).toEqual([[], []])
      expect(letters.counters).toMatchObject({ count: 0, dropped: 0 })
    }))

  it.effect("does not change a list that it has returned", () =>
    Effect.gen(function*() {
      const letters = yield* make()
      yield* addAll(letters, "a")
      const listed = yield* letters.list
      yield* addAll(letters, "b")
      yield* letters.takeAll
      expect(idsOf(listed)).toEqual(["a"])
    }))

  it.effect("drops the oldest beyond deadLetterCapacity, and counts them", () =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterCapacity: 2 })
      yield* addAll(letters, "a", "b")
      expect(letters.counters.dropped).toBe(0)
      yield* addAll(letters, "c", "d", "e")
      expect(idsOf(yield* letters.list)).toEqual(["d", "e"])
      expect(letters.counters).toMatchObject({ count: 2, dropped: 3 })
      // What is given out makes room.
      yield* letters.take("d")
      yield* addAll(letters, "f")
      expect(idsOf(yield* letters.list)).toEqual(["e", "f"])
      expect(letters.counters.dropped).toBe(3)
    }))

  it.effect("drops the oldest beyond deadLetterSize, two bytes for each character of text, origin and reason", () =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterSize: 20 })
      yield* letters.add(letter("a", { json: "12", origin: "1", reason: "1" }))
      yield* letters.add(letter("b", { json: "12" }))
      yield* letters.add(letter("c", { json: "1234" }))
      expect([idsOf(yield* letters.list), letters.counters.dropped]).toEqual([["a", "b", "c"], 0])
      yield* letters.add(letter("d", { json: "1" }))
      expect([idsOf(yield* letters.list), letters.counters.dropped]).toEqual([["b", "c", "d"], 1])
      yield* letters.add(letter("e", { reason: "1".repeat(6) }))
      expect([idsOf(yield* letters.list), letters.counters.dropped]).toEqual([["d", "e"], 3])
      // What is given out makes room, one or all.
      yield* letters.take("e")
      yield* letters.add(letter("f", { origin: "1".repeat(9) }))
      expect([idsOf(yield* letters.list), letters.counters.dropped]).toEqual([["d", "f"], 3])
      yield* letters.takeAll
      yield* letters.add(letter("g", { json: "1".repeat(10) }))
      expect([idsOf(yield* letters.list), letters.counters.dropped]).toEqual([["g"], 3])
      // One that is larger than all the room is dropped with all that was there.
      yield* letters.add(letter("h", { json: "1".repeat(11) }))
      expect([idsOf(yield* letters.list), letters.counters]).toMatchObject([[], { count: 0, dropped: 5 }])
    }))

  it.effect("drops unhandled ones first, and never others for them", () =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterCapacity: 3 })
      const reasons = [
        `${new UndefinedHandlerError({ event: "a/b", groups: [] }).name}: No handler`,
        "InvalidEventNameError: none",
        "MessageDecodeError: no JSON",
        "Error: MessageDecodeError: of its own"
      ]
      expect(reasons.map((reason) => DeadLetters.isUnhandled({ reason }))).toEqual([true, true, true, false])
      const unhandled = (id: string) => letters.add(letter(id, { reason: reasons[id.length]! }))
      yield* addAll(letters, "a")
      yield* unhandled("u")
      yield* addAll(letters, "b", "c")
      expect(idsOf(yield* letters.list)).toEqual(["a", "b", "c"])
      for (const id of ["", "v", "ww"]) yield* unhandled(id)
      expect(idsOf(yield* letters.list)).toEqual(["a", "b", "c"])
      yield* letters.take("a")
      yield* unhandled("x")
      yield* unhandled("y")
      expect(idsOf(yield* letters.list)).toEqual(["b", "c", "y"])
      yield* addAll(letters, "d", "e")
      expect(idsOf(yield* letters.list)).toEqual(["c", "d", "e"])
      expect(letters.counters).toMatchObject({ count: 3, dropped: 7, added: 11 })
    }))

  it.effect("has the time of the failure in whole milliseconds", () =>
    Effect.gen(function*() {
      const letters = yield* make()
      yield* TestClock.adjust("1500 micros")
      yield* addAll(letters, "a")
      expect((yield* letters.take("a"))!.failedAt).toBe(1)
    }))

  it.effect("has none if its capacity is 0", () =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterCapacity: 0 })
      yield* addAll(letters, "a", "b")
      expect([yield* letters.list, letters.counters]).toMatchObject([[], { count: 0, dropped: 2 }])
    }))

  it.effect("truncates a reason to 500 characters, and counts only these", () =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterSize: 1000 })
      yield* letters.add(letter("a", { reason: "x".repeat(500) }))
      expect((yield* letters.take("a"))!.reason).toBe("x".repeat(500))
      yield* letters.add(letter("b", { reason: `${"x".repeat(499)}yz` }))
      expect((yield* letters.take("b"))!.reason).toBe(`${"x".repeat(499)}y`)
      expect(letters.counters.dropped).toBe(0)
    }))

  type Step = { readonly add: number } | { readonly take: number } | "takeAll"

  const step = oneOf<Step>(
    Arbitrary.map(int(0, 12), (add) => ({ add })),
    Arbitrary.map(int(0, 12), (add) => ({ add })),
    Arbitrary.map(int(0, 30), (take) => ({ take })),
    Arbitrary.map(int(0, 9), (n): Step => n === 0 ? "takeAll" : { add: n })
  )

  it.effect.prop("equals a list whose first entries are dropped beyond the limits", [
    Arbitrary.array(step, { maxLength: 60 })
  ], ([steps]) =>
    Effect.gen(function*() {
      const letters = yield* make({ deadLetterCapacity: 5, deadLetterSize: 60 })
      let model: ReadonlyArray<{ readonly id: string; readonly length: number }> = []
      let dropped = 0
      for (const [index, step] of steps.entries()) {
        if (step === "takeAll") {
          expect(idsOf(yield* letters.takeAll)).toEqual(model.map(({ id }) => id))
          model = []
        } else if ("take" in step) {
          const id = String(step.take)
          expect((yield* letters.take(id)) !== undefined).toBe(model.some((one) => one.id === id))
          model = model.filter((one) => one.id !== id)
        } else {
          yield* letters.add(letter(String(index), { json: "x".repeat(step.add) }))
          model = [...model, { id: String(index), length: step.add }]
          while (model.length > 5 || model.reduce((sum, { length }) => sum + length, 0) > 30) {
            model = model.slice(1)
            dropped++
          }
        }
        expect(idsOf(yield* letters.list)).toEqual(model.map(({ id }) => id))
        expect(letters.counters).toMatchObject({ count: model.length, dropped })
      }
    }), { arbitrary: { runs } })
})

describe("the dead letters of a single broker", () => {
  it.effect("drops restored unhandled ones first", () =>
    Effect.gen(function*() {
      const restored = ["a", "u"].map((id) => ({
        ...letter(id, id === "u" ? { reason: "UndefinedHandlerError: no" } : {}),
        failedAt: 1
      }))
      const letters = yield* makeLocal({ deadLetterCapacity: 2, letters: restored })
      yield* addAll(letters, "b")
      expect(idsOf(yield* letters.list)).toEqual(["a", "b"])
    }))

  it.effect("count two bytes for each character", () =>
    Effect.gen(function*() {
      const letters = yield* makeLocal({ deadLetterSize: 8 })
      yield* letters.add(letter("a", { json: "żż" }))
      yield* letters.add(letter("b", { json: "żż" }))
      yield* letters.add(letter("c", { json: "ż" }))
      expect(idsOf(yield* letters.list)).toEqual(["b", "c"])
    }))
})
