import { describe, expect, it } from "vitest"
import * as Prefetch from "../../src/client/internal/prefetch.ts"

/** Acks ten events at a time, each ten in so many milliseconds, and returns the prefetch after each change. */
const handle = (prefetch: Prefetch.Prefetch, count: number, millisecondsForTen: number) => {
  const wanted: Array<number> = []
  for (let n = 1; n <= count / 10; n++) {
    if (prefetch.acknowledgedUnsafe(10, n * millisecondsForTen)) wanted.push(prefetch.current())
  }
  return wanted
}

describe("the prefetch of a worker", () => {
  it("is doubled up to its maximum while the worker handles as many in 50 milliseconds", () => {
    const prefetch = Prefetch.make(100, 350)
    expect(prefetch.current()).toBe(100)
    // Each ten in five: a hundred in 50.
    expect(handle(prefetch, 390, 4)).toEqual([])
    expect(handle(prefetch, 10, 4)).toEqual([200])
    expect(handle(prefetch, 10_000, 1)).toEqual([350])
    expect(prefetch.current()).toBe(350)
  })

  it("does not change if that takes longer, or if minimum and maximum are the same", () => {
    expect(handle(Prefetch.make(100, 800), 10_000, 6)).toEqual([])
    const exact = Prefetch.make(100, 800)
    expect([exact.acknowledgedUnsafe(1, 0), exact.acknowledgedUnsafe(399, 200)]).toEqual([false, false])
    const faster = Prefetch.make(100, 800)
    expect([faster.acknowledgedUnsafe(1, 0), faster.acknowledgedUnsafe(399, 199)]).toEqual([false, true])
    expect(handle(Prefetch.make(100, 100), 10_000, 0)).toEqual([])
  })

  it("ignores the time in which there was nothing to handle", () => {
    const prefetch = Prefetch.make(100, 800)
    handle(prefetch, 400, 100)
    expect(prefetch.acknowledgedUnsafe(10, 1e9)).toBe(false)
    expect(prefetch.acknowledgedUnsafe(390, 1e9 + 10)).toBe(true)
  })

  it("is the minimum again if fewer were handled from one heartbeat to the next", () => {
    const prefetch = Prefetch.make(100, 800)
    handle(prefetch, 400, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 200])
    prefetch.acknowledgedUnsafe(200, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 200])
    prefetch.acknowledgedUnsafe(199, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([true, 100])
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 100])
    // What was handled before does not count any more.
    expect([prefetch.acknowledgedUnsafe(399, 0), prefetch.acknowledgedUnsafe(1, 0)]).toEqual([false, true])
  })
})
