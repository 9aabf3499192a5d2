import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as OrderedQueue from "../../../../src/server/engine/internal/orderedQueue.ts"
import { cpuTime } from "../../../harness/cpuTime.ts"
import { int, pick } from "../../../protocol/arbitraries.ts"

interface Numbered {
  readonly number: number
}

const event = (number: number): Numbered => ({ number })

const takeAll = (lane: OrderedQueue.OrderedQueue<Numbered>) => {
  const numbers: Array<number> = []
  for (let one = lane.take(); one !== undefined; one = lane.take()) numbers.push(one.number)
  return numbers
}

describe("orderedQueue", () => {
  it("is empty at first, and when all events were taken", () => {
    const lane = OrderedQueue.make<Numbered>()
    expect([lane.length, lane.first(), lane.take()]).toEqual([0, undefined, undefined])
    lane.append(event(5))
    expect([lane.length, lane.first()]).toEqual([1, event(5)])
    expect([lane.take(), lane.length, lane.first()]).toEqual([event(5), 0, undefined])
    lane.requeue(event(5))
    expect([lane.length, lane.first()]).toEqual([1, event(5)])
    expect([takeAll(lane), lane.length]).toEqual([[5], 0])
  })

  it("keeps the order of many events that are taken while others are appended", () => {
    const lane = OrderedQueue.make<Numbered>()
    const taken: Array<number> = []
    for (let number = 0; number < 10_000; number++) {
      lane.append(event(number))
      if (number % 3 > 0) taken.push(lane.take()!.number)
    }
    expect([...taken, ...takeAll(lane)]).toEqual(Array.from({ length: 10_000 }, (_, number) => number))
  })

  it("requeues many events out of order in a moment", () => {
    const lane = OrderedQueue.make<Numbered>()
    const count = 20_000
    for (let number = 0; number < count; number++) lane.append(event(number))
    const taken = Array.from({ length: count }, () => lane.take()!)
    const start = cpuTime()
    for (const one of taken.toReversed()) if (one.number % 2 === 0) lane.requeue(one)
    for (const one of taken) if (one.number % 2 === 1) lane.requeue(one)
    expect(takeAll(lane)).toEqual(taken.map(({ number }) => number))
    // Quadratic time would be many seconds.
    expect(cpuTime() - start).toBeLessThan(1000)
  })

  it.prop("returns its events in the order of their numbers, however often they are requeued", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["append", "append", "take", "take", "requeue", "remove"]),
        which: int(0, 9)
      }),
      { maxLength: 60 }
    )
  ], ([steps]) => {
    const lane = OrderedQueue.make<Numbered>()
    let queued: ReadonlyArray<Numbered> = []
    const taken: Array<Numbered> = []
    let last = 0
    for (const { does, which } of steps) {
      if (does === "append") {
        // Another lane may have had the numbers between.
        const one = event(last += 1 + which)
        lane.append(one)
        queued = [...queued, one]
      } else if (does === "take") {
        const one = lane.take()
        expect(one).toBe(queued[0])
        if (one !== undefined) taken.push(one)
        queued = queued.slice(1)
      } else if (does === "remove") {
        const one = queued[which] ?? event(which)
        expect(lane.remove(one)).toBe(queued.includes(one))
        queued = queued.filter((other) => other !== one)
      } else {
        const [one] = taken.splice(which % Math.max(taken.length, 1), 1)
        if (one === undefined) continue
        lane.requeue(one)
        queued = [...queued, one].toSorted((a, b) => a.number - b.number)
      }
      expect([lane.length, lane.first()]).toEqual([queued.length, queued[0]])
    }
    expect(takeAll(lane)).toEqual(queued.map(({ number }) => number))
  }, { arbitrary: { runs: 300, size: 60 } })
})
