import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Heap from "../../../../src/server/engine/internal/heap.ts"
import { int, pick } from "../../../protocol/arbitraries.ts"

describe("heap", () => {
  it.prop("returns the least of its items first, after any steps", [
    Arbitrary.array(
      Arbitrary.all({ does: pick(["put", "put", "move", "remove", "take"]), which: int(0, 9), value: int(0, 30) }),
      { maxLength: 80 }
    )
  ], ([steps]) => {
    const heap = Heap.make<{ value: number }>((one, other) => one.value < other.value)
    const entries = Array.from({ length: 10 }, () => Heap.entryOf({ value: 0 }))
    const inside = new Set<(typeof entries)[number]>()
    const least = () => inside.size === 0 ? undefined : Math.min(...Array.from(inside, ({ item }) => item.value))
    for (const { does, value, which } of steps) {
      const entry = entries[which]!
      if (does === "put" || (does === "move" && inside.has(entry))) {
        entry.item.value = value
        heap.put(entry)
        inside.add(entry)
      } else if (does === "remove") {
        heap.remove(entry)
        inside.delete(entry)
        expect(entry.index).toBe(-1)
      } else if (does === "take") {
        const taken = heap.take()
        expect(taken?.value).toBe(least())
        for (const one of inside) if (one.item === taken) inside.delete(one)
      }
      expect([heap.size, heap.peek()?.value]).toEqual([inside.size, least()])
    }
    const rest = Array.from({ length: inside.size }, () => heap.take()!.value)
    expect(rest).toEqual(rest.toSorted((a, b) => a - b))
  }, { arbitrary: { runs: 300, size: 80 } })
})
