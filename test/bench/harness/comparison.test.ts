import { describe, expect, it } from "vitest"
import { type Result, spreadOf } from "./Bench.ts"
import * as Comparison from "./comparison.ts"

/** The result of rounds in which the library did so much, and a peer 100. */
const resultOf = (samples: ReadonlyArray<number>, better: Result["better"] = "more", name = "Kosmonaut"): Result => {
  const figures = (name: string, samples: ReadonlyArray<number>) => ({ name, ...spreadOf(samples), samples, usage: {} })
  return {
    scenario: "broadcast",
    title: "64 fibers",
    metric: "requests",
    name: "requests",
    unit: "requests/s",
    better,
    figures: [
      { ...figures(name, samples), ratios: { peer: spreadOf(samples.map((sample) => sample / 100)) } },
      { ...figures("peer", samples.map(() => 100)), ratios: {} }
    ]
  }
}

const regressions = (before: Result, now: Result) =>
  Comparison.compare([before], [now]).filter(Comparison.isRegression).map(({ what }) => what)

const ratio = "broadcast: 64 fibers, requests: Kosmonaut × peer"

describe("a comparison with a saved run", () => {
  it("finds what is worse in all rounds, whichever is better", () => {
    expect(regressions(resultOf([100, 110, 120]), resultOf([70, 75, 80]))).toEqual([ratio])
    expect(regressions(resultOf([100, 110, 120], "less"), resultOf([70, 75, 80], "less"))).toEqual([])
    expect(regressions(resultOf([70, 75, 80], "less"), resultOf([100, 110, 120], "less"))).toEqual([ratio])
  })

  it("takes for noise what is within the rounds, and what is small", () => {
    expect(regressions(resultOf([60, 110, 120]), resultOf([70, 75, 80]))).toEqual([])
    expect(regressions(resultOf([100, 101, 102]), resultOf([96, 97, 98]))).toEqual([])
  })

  it("compares ratios where there are peers, and figures where there are none", () => {
    const slower = ({ figures, ...result }: Result): Result => ({
      ...result,
      figures: figures.map((figures) => ({ ...figures, ...spreadOf(figures.samples.map((one) => one / 2)) }))
    })
    const before = resultOf([100, 110, 120])
    expect(regressions(before, slower(before))).toEqual([])
    const alone = { ...before, figures: [{ ...before.figures[0]!, ratios: {} }] }
    expect(regressions(alone, slower(alone))).toEqual(["broadcast: 64 fibers, requests: Kosmonaut"])
  })

  it("lists the worst first, and says how many there were", () => {
    const text = Comparison.text(
      Comparison.compare([resultOf([100, 110, 120])], [resultOf([70, 75, 80])]),
      { date: "2026-11-26", loadBefore: 1, loadAfter: 2 },
      { date: "2026-11-27", loadBefore: 5, loadAfter: 6.25 }
    )
    expect(text).toContain("the run of 2026-11-26, 1 figures.")
    expect(text).toContain("1.0 to 2.0 then and 5.0 to 6.3 now")
    expect(text).toContain(
      `Worse:\n  0.68 ×  ${ratio}\n          1.10 (1.00–1.20) → 0.750 (0.700–0.800)\nBetter: none\n`
    )
  })
})
