/**
 * What is in flight is found again by its number, in whatever order it comes back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Flight from "../../src/client/internal/flight.ts"
import { int } from "../protocol/arbitraries.ts"

describe("what is in flight", () => {
  it("has numbers that count up from 1, and is taken once", () => {
    const flight = Flight.make<string>()
    assert.deepStrictEqual(["a", "b"].map(flight.add), [1, 2])
    assert.deepStrictEqual([2, 2, 1, 0, 3, Infinity].map(flight.take), [
      "b",
      undefined,
      "a",
      ...Array.from({ length: 3 }, () => undefined)
    ])
    assert.strictEqual(flight.add("c"), 3)
  })

  // Numbers say what is done: the first come back, others do, all do; mostly one more leaves.
  it.prop("is as a map would be, whatever comes back when", [
    Arbitrary.array(int(0, 100), { minLength: 200, maxLength: 300 })
  ], ([steps]) => {
    const flight = Flight.make<string>(4)
    const model = new Map<number, string>()
    let added = 0
    for (const step of steps) {
      const oldest = [...model][0]
      assert.deepStrictEqual(flight.first(), oldest && { number: oldest[0], value: oldest[1] })
      if (step > 50) {
        model.set(++added, `${added}`)
        assert.strictEqual(flight.add(`${added}`), added)
      } else if (step === 0) {
        assert.strictEqual(flight.size(), model.size)
        assert.deepStrictEqual(flight.takeAll(), [...model.values()])
        model.clear()
      } else {
        const number = step > 35 ? oldest?.[0] ?? 1 : Math.max(0, added + 1 - step)
        assert.strictEqual(flight.take(number), model.get(number))
        model.delete(number)
      }
    }
  })

  it("keeps one that stays away, while thousands come and go", () => {
    const flight = Flight.make<number>(4)
    assert.strictEqual(flight.add(-1), 1)
    for (let number = 2; number < 10_000; number++) {
      assert.strictEqual(flight.add(number), number)
      assert.strictEqual(flight.take(number), number)
    }
    assert.strictEqual(flight.capacity(), 4)
    assert.deepStrictEqual(flight.first(), { number: 1, value: -1 })
    assert.strictEqual(flight.take(1), -1)
    assert.isUndefined(flight.first())
  })
})
