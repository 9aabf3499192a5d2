import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as SharedTurns from "../../../../src/server/engine/internal/sharedTurns.ts"
import type { SharedQueue, Turn, TurnResult } from "../../../../src/server/engine/SharedQueue.ts"

const none = { workers: 0, credits: 0, idle: 0 }

const discard = { _tag: "Discard", id: "1" } as const

/** Turns of a queue that does this, with the turns that it was asked for and how a first call has ended. */
const start = Effect.fnUntraced(function*(run: (turn: Turn) => Effect.Effect<TurnResult>) {
  const asked: Array<number> = []
  const ended: Array<unknown> = []
  const turns = SharedTurns.make({
    shared: { run: (turn: Turn) => (asked.push(turn.number), run(turn)) } as unknown as SharedQueue,
    now: yield* Effect.clockWith((clock) => Effect.sync(() => () => clock.currentTimeMillisUnsafe())),
    capacity: () => ({ events: none, requests: none, lifecycle: none }),
    isWaiting: () => false,
    awaitsResponses: () => false,
    onResult: () => {},
    onFenced: () => {}
  })
  turns.add(discard, (answer, result) => ended.push(answer ?? result))
  yield* Effect.forkScoped(turns.run)
  return { asked, ended }
})

const done = { answers: ["Done"], claimed: [], responses: [] } as unknown as TurnResult

describe("The turns of a node in a shared queue", () => {
  it.effect("go on after a defect, with the same turn", () =>
    Effect.gen(function*() {
      let defects = 1
      const { asked, ended } = yield* start(() => defects-- > 0 ? Effect.die("not an answer") : Effect.succeed(done))
      yield* TestClock.adjust("500 millis")
      expect([asked, ended]).toEqual([[1], []])
      yield* TestClock.adjust("500 millis")
      expect([asked, ended]).toEqual([[1, 1], ["Done"]])
    }))

  it.effect("fail what has waited for long, if each is a defect", () =>
    Effect.gen(function*() {
      const { asked, ended } = yield* start(() => Effect.interrupt)
      yield* TestClock.adjust("4 seconds")
      expect(ended).toEqual([])
      yield* TestClock.adjust("3 seconds")
      expect(ended).toEqual(["maybe"])
      expect(new Set(asked)).toEqual(new Set([1]))
    }))
})
