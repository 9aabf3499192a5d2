import { describe, expect, it } from "vitest"
import * as Allocation from "./allocation.ts"

describe("what is allocated", () => {
  it("counts what was collected meanwhile", () => {
    // V8 keeps what it can see in a function, so this is read afterwards.
    let last: ReadonlyArray<number> = []
    const before = Allocation.read()
    for (let i = 0; i < 500; i++) last = Array.from({ length: 5000 }, () => i)
    const bytes = Allocation.read() - before
    expect(last).toHaveLength(5000)
    expect(bytes).toBeGreaterThan(500 * 5000 * 8)
    expect(bytes).toBeLessThan(500 * 5000 * 8 * 4)
  })
})
