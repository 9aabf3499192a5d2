import { describe, expect, it } from "vitest"
import { type Result, spreadOf } from "./Bench.ts"
import * as Goals from "./goals.ts"
import * as Limits from "./limits.ts"

const usage = { client: { cpu: 2.5, reads: 0.25, writes: 0.5, bytes: 90, main: 2, allocated: 1200 } }

/** The result of rounds of some contestants. */
const resultOf = (title: string, samples: Readonly<Record<string, ReadonlyArray<number>>>): Result => ({
  scenario: "broadcast",
  title,
  metric: "requests",
  name: "requests",
  unit: "requests/s",
  better: "more",
  figures: Object.entries(samples).map(([name, samples]) => ({
    name,
    ...spreadOf(samples),
    samples,
    usage,
    ratios: {}
  }))
})

const rowOf = (table: string, start: string) => table.split("\n").find((line) => line.startsWith(`| ${start}`))

describe("the goals", () => {
  it("are ratios of the same rounds, and bold if they are missed", () => {
    const table = Goals.markdown([
      resultOf("64 fibers", {
        "Kosmonaut, ZeroMQ": [10, 40, 30],
        "Kosmonaut, TCP": [5, 10, 10],
        ioredis: [10, 20, 20]
      })
    ])
    expect(rowOf(table, "broadcasts by 64 and 256")).toContain("64 over ZeroMQ: 1.50 (1.00–2.00)")
    expect(rowOf(table, "broadcasts by 64 and 256")).toContain("64 over TCP: **0.50 (0.50–0.50)**")
  })

  it("say what was not measured", () => {
    expect(rowOf(Goals.markdown([]), "broadcasts by 1 fiber")).toContain("not measured")
  })

  it("take for growth the worst of all operations", () => {
    const grown = (ratio: number): Result => ({
      ...resultOf("to subscribe", { "1": [1] }),
      scenario: "growth",
      figures: [{ name: "100", ...spreadOf([1]), samples: [1], usage: {}, ratios: { smallest: spreadOf([ratio]) } }]
    })
    expect(rowOf(Goals.markdown([grown(1.1), grown(0.9)]), "an operation")).toContain("1.00 (0.90–1.10)")
    expect(rowOf(Goals.markdown([grown(1.1), grown(1.3)]), "an operation")).toContain("**1.20 (1.10–1.30)**")
  })
})

describe("what the system takes", () => {
  it("is beside the least, process by process", () => {
    const table = Limits.markdown([resultOf("64 fibers", { "Kosmonaut, TCP": [1], "bytes over TCP": [1] })])
    expect(rowOf(table, "a broadcast, 64")?.split("|").map((cell) => cell.trim()).slice(2, 9))
      .toEqual(["client", "2.50", "0.25 + 0.50", "90", "2.50", "0.25 + 0.50", "90"])
  })
})
