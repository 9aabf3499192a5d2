import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { attacks } from "./attacks/all.ts"
import { check, type Sent } from "./checker.ts"
import { run } from "./hostile.ts"
import type { Attack } from "./stranger.ts"

const sent = (n: number, outcome: Sent["outcome"] = "confirmed"): Sent => ({ n, at: 10 * n, outcome })
const two = [sent(1), sent(2)]

describe("the canary's checker", () => {
  it.each([
    ["all is received", two, [{ n: 1, at: 12 }, { n: 2, at: 27 }], [], 7],
    ["one is lost", two, [{ n: 2, at: 20 }], ["1 of 2 broadcasts were lost, the first is 1"], 0],
    ["nothing is received", two, [], ["2 of 2 broadcasts were lost, the first is 1"], 0],
    ["nothing is sent", [], [], ["no broadcast was sent"], 0],
    ["one is received twice", two, [1, 2, 2].map((n) => ({ n, at: 20 })), ["broadcast 2 was received twice"], 10],
    [
      "one is delivered again",
      two,
      [
        { n: 1, at: 10 },
        { n: 2, at: 20 },
        { n: 1, at: 90, attempt: 2 }
      ],
      [],
      0
    ],
    ["the order is another", two, [2, 1].map((n) => ({ n, at: 20 })), ["broadcast 1 was received after 2"], 10],
    ["one was never sent", two, [1, 2, 3].map((n) => ({ n, at: 20 })), ["broadcast 3 was received and never sent"], 10],
    ["one is refused", [sent(1), sent(2, "refused")], [{ n: 1, at: 10 }], [
      "1 of 2 broadcasts were refused, the first is 2"
    ], 0],
    ["one has no answer", [sent(1), sent(2, "unknown")], [1, 2].map((n) => ({ n, at: 20 })), [
      "1 of 2 broadcasts had no answer, the first is 2"
    ], 10]
  ])("says it if %s", (_, sent, received, faults, worst) => {
    assert.deepStrictEqual(check("broadcast", sent, received), { faults, worst })
  })
})

const none: Attack = { name: "none", sentence: "do nothing", run: () => Promise.resolve() }

// The machine has other tests to run.
const unhurried = { end: Infinity }

describe("an attack", { timeout: 120_000 }, () => {
  it("has a name of its own and a sentence", () => {
    assert.strictEqual(new Set(attacks.map(({ name }) => name)).size, attacks.length)
    for (const { sentence } of attacks) assert.match(sentence, /^[a-z].*[^.]$/)
  })

  it.live("passes if it does no harm", () =>
    Effect.gen(function*() {
      const { faults, figures } = yield* run(none, 300, unhurried)
      assert.deepStrictEqual(faults, [])
      assert.isAbove(figures.worstLatency, 0)
    }))

  it.live("fails if the canary loses something", () =>
    Effect.gen(function*() {
      // No event may wait.
      const { faults } = yield* run({ ...none, flags: ["--queue-capacity", "0"] }, 300, unhurried)
      assert.strictEqual(faults.length, 1)
      assert.match(faults[0]!, /^the canary: \d+ of \d+ triggers were refused, the first is 0$/)
    }))
})
