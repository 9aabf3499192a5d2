import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Line from "../../../../src/server/engine/internal/line.ts"
import * as Journal from "../../../../src/server/engine/Journal.ts"
import { int, pick } from "../../../protocol/arbitraries.ts"

const event = (number: number, size = number): Line.Waiting => ({
  number,
  id: `id-${number}`,
  json: `${number}`,
  origin: undefined,
  attempts: 0,
  failures: 0,
  size
})

const takeAll = (line: Line.Line) => {
  const numbers: Array<number> = []
  for (let one = line.take(); one !== undefined; one = line.take()) numbers.push(one.number)
  return numbers
}

describe("line", () => {
  it("is empty at first, and again when all were taken", () => {
    const line = Line.make(Journal.none)
    const empty = { length: 0, size: 0, first: Infinity }
    expect(line).toMatchObject(empty)
    expect(line.take()).toBe(undefined)
    line.append(event(5))
    expect(line).toMatchObject({ length: 1, size: 5, first: 5 })
    expect(line.take()).toEqual(event(5))
    expect(line).toMatchObject(empty)
    line.putBack(event(5))
    expect(line).toMatchObject({ length: 1, size: 5, first: 5 })
    expect(takeAll(line)).toEqual([5])
    expect(line).toMatchObject(empty)
  })

  it.prop("gives its events in the order of their numbers, however often they come back", [
    Arbitrary.array(
      Arbitrary.all({ does: pick(["append", "append", "take", "take", "putBack"]), which: int(0, 9), size: int(0, 9) }),
      { maxLength: 60 }
    )
  ], ([steps]) => {
    const line = Line.make(Journal.none)
    let waiting: ReadonlyArray<Line.Waiting> = []
    const taken: Array<Line.Waiting> = []
    let last = 0
    for (const { does, size, which } of steps) {
      if (does === "append") {
        // Another line may have had the numbers between.
        const one = event(last += 1 + which, size)
        line.append(one)
        waiting = [...waiting, one]
      } else if (does === "take") {
        const one = line.take()
        expect(one).toEqual(waiting[0])
        if (one !== undefined) taken.push(one)
        waiting = waiting.slice(1)
      } else {
        const [one] = taken.splice(which % Math.max(taken.length, 1), 1)
        if (one === undefined) continue
        line.putBack(one)
        waiting = [...waiting, one].toSorted((a, b) => a.number - b.number)
      }
      expect(line).toMatchObject({
        length: waiting.length,
        size: waiting.reduce((sum, { size }) => sum + size, 0),
        first: waiting[0]?.number ?? Infinity
      })
    }
    expect(takeAll(line)).toEqual(waiting.map(({ number }) => number))
  }, { arbitrary: { runs: 300, size: 60 } })
})
