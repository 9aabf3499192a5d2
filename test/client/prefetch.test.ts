import { describe, expect, it } from "vitest"
import * as Prefetch from "../../src/client/internal/prefetch.ts"

/** Acknowledges ten at a time, each ten in so many milliseconds; gives what was wanted after each that changed it. */
const handle = (prefetch: Prefetch.Prefetch, count: number, millisecondsForTen: number) => {
  const wanted: Array<number> = []
  for (let n = 1; n <= count / 10; n++) {
    if (prefetch.acknowledgedUnsafe(10, n * millisecondsForTen)) wanted.push(prefetch.current())
  }
  return wanted
}

describe("what a worker wants to have", () => {
  it("is doubled, up to the most, while it handles it in 50 milliseconds", () => {
    const prefetch = Prefetch.make(100, 350)
    expect(prefetch.current()).toBe(100)
    // Each ten in five: a hundred in 50.
    expect(handle(prefetch, 390, 4)).toEqual([])
    expect(handle(prefetch, 10, 4)).toEqual([200])
    expect(handle(prefetch, 10_000, 1)).toEqual([350])
    expect(prefetch.current()).toBe(350)
  })

  it("stays as it is where that takes longer, or where there is no room between least and most", () => {
    expect(handle(Prefetch.make(100, 800), 10_000, 6)).toEqual([])
    expect(handle(Prefetch.make(100, 100), 10_000, 0)).toEqual([])
  })

  it("does not mind the time in which there was nothing to handle", () => {
    const prefetch = Prefetch.make(100, 800)
    handle(prefetch, 400, 100)
    expect(prefetch.acknowledgedUnsafe(10, 1e9)).toBe(false)
    expect(prefetch.acknowledgedUnsafe(390, 1e9 + 10)).toBe(true)
  })

  it("is the least again where it has handled less than that from one heartbeat to the next", () => {
    const prefetch = Prefetch.make(100, 800)
    handle(prefetch, 400, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 200])
    prefetch.acknowledgedUnsafe(200, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 200])
    prefetch.acknowledgedUnsafe(199, 0)
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([true, 100])
    expect([prefetch.heartbeatUnsafe(), prefetch.current()]).toEqual([false, 100])
  })
})
