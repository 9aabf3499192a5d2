import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as V8 from "node:v8"
import { runInNewContext } from "node:vm"
import { TransientMap } from "../../src/protocol/TransientMap.ts"
import { costly, int, pick } from "./arbitraries.ts"

describe("TransientMap", () => {
  it.prop("equals a map, after any sequence", [
    Arbitrary.array(
      Arbitrary.all({
        does: pick(["set", "set", "delete", "pass", "clear"]),
        key: pick(["a", "b", "c", "d", "e"]),
        value: int(1, 9)
      }),
      { maxLength: 40 }
    )
  ], ([steps]) => {
    const map = new TransientMap<string, number>()
    const model = new Map<string, number>()
    for (const { does, key, value } of steps) {
      switch (does) {
        case "set":
          map.set(key, value)
          model.set(key, value)
          break
        case "delete":
          expect(map.delete(key)).toBe(model.delete(key))
          break
        case "clear":
          map.clear()
          model.clear()
          break
        // So many come and go that the others move.
        case "pass":
          for (let n = 0; n < 600; n++) {
            map.set(`${n}`, n)
            expect(map.delete(`${n}`)).toBe(true)
          }
      }
      expect([...map]).toEqual([...model])
      expect([...map.keys()]).toEqual([...model.keys()])
      expect([...map.values()]).toEqual([...model.values()])
      expect([map.size, map.get(key), map.has(key)]).toEqual([model.size, model.get(key), model.has(key)])
    }
  }, costly(60, 40))

  it("lets go of entries that have come and gone without a full collection", () => {
    V8.setFlagsFromString("--expose-gc")
    const collect = runInNewContext("gc") as (options?: { readonly type: "minor" }) => void
    const map = new TransientMap<number, ReadonlyArray<number>>()
    const pass = (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        map.set(n, Array.from({ length: 100 }, () => n + 0.5))
        map.delete(n - 100)
        if (n % 2000 === 0) collect({ type: "minor" })
      }
    }
    pass(0, 100)
    // What is in the map is now old.
    collect()
    const old = () => V8.getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space")!.space_used_size
    const before = old()
    pass(100, 40_000)
    // In a map that never moves they take 20 MB.
    expect((old() - before) / 1_048_576).toBeLessThan(6)
    expect(map.size).toBe(100)
  })
})
