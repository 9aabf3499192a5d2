/** What a node knows of the clock of a queue that it shares. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as SharedTime from "../../../src/server/engine/internal/sharedTime.ts"
import { int } from "../../protocol/arbitraries.ts"

describe("The time of a shared queue", () => {
  it("is unknown before the first turn", () => {
    expect(SharedTime.make().at(5)).toBeUndefined()
  })

  it.prop("is wrong by at most half of the fastest turn of the last seconds, and half a millisecond", [
    Arbitrary.array(Arbitrary.all({ pause: int(0, 500), to: int(0, 50), back: int(0, 50) }), {
      minLength: 1,
      maxLength: 20
    }),
    int(-1_000_000, 1_000_000)
  ], ([turns, ahead]) => {
    const time = SharedTime.make()
    let now = 1000.25
    let fastest = Infinity
    for (const { back, pause, to } of turns) {
      now += pause
      const began = now
      const said = Math.floor(began + to + ahead)
      now += to + back
      time.observe(began, now, said)
      fastest = Math.min(fastest, to + back)
      expect(Math.abs(time.at(now)! - (now + ahead))).toBeLessThanOrEqual(fastest / 2 + 0.5)
    }
  })

  it("follows a clock that was set, within ten seconds, however slow the turns are", () => {
    const time = SharedTime.make()
    time.observe(0, 1, 100_000)
    for (let now = 1000; now <= 11_000; now += 1000) time.observe(now, now + 8, now + 4)
    expect(time.at(12_000)).toBeCloseTo(12_000, -1)
  })
})
