import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "./chaos.ts"
import { check } from "./checker.ts"

describe("the checker", () => {
  const first = { n: 1, id: "a", attempt: 1 }
  const second = { n: 2, id: "b", attempt: 1 }

  it.each([
    ["nothing happened", [], [], { duplicates: 0, losses: [], wrongs: [] }],
    ["all is handled once", [2, 1], [first, second], { duplicates: 0, losses: [], wrongs: [] }],
    ["one is lost", [1, 2, 3], [second], { duplicates: 0, losses: [1, 3], wrongs: [] }],
    ["one is handled again and again", [1], [{ ...first, attempt: 3 }, first, { ...first, attempt: 2 }], {
      duplicates: 2,
      losses: [],
      wrongs: []
    }],
    ["an attempt is handled twice", [1], [first, first], {
      duplicates: 1,
      losses: [],
      wrongs: ["attempt 1 of 1 was handled twice"]
    }],
    ["a refused one is handled", [], [{ ...first, n: 9 }], {
      duplicates: 0,
      losses: [],
      wrongs: ["9 was handled, but refused"]
    }],
    ["one is handled that never was", [], [first], {
      duplicates: 0,
      losses: [],
      wrongs: ["1 was handled, but never triggered"]
    }],
    ["one has two names", [1], [first, { n: 1, id: "b", attempt: 2 }], {
      duplicates: 1,
      losses: [],
      wrongs: ["1 has two names, a and b"]
    }],
    ["two have one name", [1, 2], [first, { ...second, id: "a" }], {
      duplicates: 0,
      losses: [],
      wrongs: ["1 and 2 are both a"]
    }]
  ])("says it where %s", (_, accepted, handlings, verdict) => {
    assert.deepStrictEqual(check({ accepted, refused: [9], handlings }), verdict)
  })
})

describe("workers that are killed, stopped and ended", () => {
  it.live("handle every event that was accepted", () =>
    Effect.gen(function*() {
      const report = yield* run({ duration: "5 seconds", seed: 1 })
      console.log(report)
      assert.deepInclude(report, { losses: [], wrongs: [], deadLetters: 0 })
      assert.isAbove(report.redelivered, 0)
      assert.strictEqual(report.handled, report.accepted + report.duplicates)
    }), 60_000)

  it.live("lose events where they do not acknowledge them, and the checker finds it", () =>
    Effect.gen(function*() {
      const report = yield* run({ duration: 0, seed: 2, acknowledges: false })
      console.log({ ...report, losses: report.losses.length })
      assert.isNotEmpty(report.losses)
      assert.deepInclude(report, { duplicates: 0, redelivered: 0, wrongs: [] })
    }), 60_000)
})
