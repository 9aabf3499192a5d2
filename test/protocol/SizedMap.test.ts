import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as V8 from "node:v8"
import { runInNewContext } from "node:vm"
import * as SizedMap from "../../src/protocol/SizedMap.ts"
import { cpuTime } from "../harness/cpuTime.ts"
import { costly, int, pick } from "./arbitraries.ts"

describe("SizedMap", () => {
  it.prop("equals a list of entries, after any sequence", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["set", "set", "set", "renew", "remove", "removeOldest", "removeOldest", "pass"]),
        key: pick(["a", "b", "c", "d", "e"]),
        value: int(1, 9),
        looks: pick([true, false])
      }),
      { maxLength: 60 }
    )
  ], ([steps]) => {
    const map = SizedMap.make<number>((value) => value)
    let model: ReadonlyArray<readonly [string, number]> = []
    for (const { does, key, looks, value } of steps) {
      const known = model.find(([one]) => one === key)
      const others = model.filter((one) => one !== known)
      switch (does) {
        case "set":
          map.set(key, value)
          model = known ? model.map((one) => one === known ? [key, value] : one) : [...model, [key, value]]
          break
        case "renew":
          expect(map.renew(key)).toBe(known?.[1])
          if (known) model = [...others, known]
          break
        case "remove":
          expect(map.remove(key)).toBe(known?.[1])
          model = others
          break
        case "removeOldest":
          expect(map.removeOldest()).toEqual(model[0])
          model = model.slice(1)
          break
        // So many come and go that the others move.
        case "pass":
          for (let n = 0; n < 600; n++) {
            map.set(`${n}`, n)
            map.remove(`${n}`)
          }
      }
      expect([...map.entries]).toEqual(model)
      if (looks) expect(map.oldest()).toEqual(model[0])
      expect(map.size()).toBe(model.reduce((sum, [, size]) => sum + size, 0))
    }
  }, costly(80, 60))

  it("finds the oldest of many in constant time", () => {
    const map = SizedMap.make<number>(() => 1)
    const count = 100_000
    for (let n = 0; n < count; n++) map.set(String(n), n)
    const start = cpuTime()
    // As a cache at its limit: one is added, the oldest is removed.
    for (let n = 0; n < count; n++) {
      map.set(String(count + n), n)
      map.removeOldest()
    }
    while (map.removeOldest() !== undefined);
    expect([...map.entries]).toEqual([])
    // Quadratic time would be many seconds.
    expect(cpuTime() - start).toBeLessThan(1000)
  })

  it("takes no memory for entries that have come and gone while nobody asked for the oldest", () => {
    const collect = collector()
    const map = SizedMap.make<number>(() => 1)
    map.set("first", 1)
    expect(map.oldest()).toEqual(["first", 1])
    const heap = () => {
      collect()
      return process.memoryUsage().heapUsed / 1_048_576
    }
    const before = heap()
    for (let n = 0; n < 400_000; n++) {
      map.set(`key ${n}`, n)
      if (n > 0) map.remove(`key ${n - 1}`)
    }
    expect(heap() - before).toBeLessThan(4)
    expect(map.oldest()).toEqual(["first", 1])
  })
})

/** Collects all garbage at once. */
const collector = (): () => void => {
  V8.setFlagsFromString("--expose-gc")
  return runInNewContext("gc") as () => void
}
