import { describe, expect, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import * as MetricFamily from "../../src/protocol/MetricFamily.ts"

describe("MetricFamily", () => {
  it.effect("has one series for each combination of values, made once", () =>
    Effect.gen(function*() {
      const requests = MetricFamily.make(
        (attributes) => Metric.counter("test_family_requests", { attributes }),
        "command",
        "outcome"
      )
      expect(requests("a", "ok")).toBe(requests("a", "ok"))
      yield* Metric.update(requests("a", "ok"), 1)
      yield* Metric.update(requests("a", "ok"), 2)
      yield* Metric.update(requests("a", "no"), 4)
      yield* Metric.update(requests("ok", "a"), 8)
      const counts = yield* Effect.forEach(
        [requests("a", "ok"), requests("a", "no"), requests("ok", "a"), requests("b", "ok")],
        (series) => Effect.map(Metric.value(series), ({ count }) => count)
      )
      expect(counts).toEqual([3, 4, 8, 0])
      const seen = (yield* Metric.snapshot).filter(({ id }) => id === "test_family_requests")
      expect(seen.map(({ attributes }) => attributes)).toEqual(expect.arrayContaining([
        { command: "a", outcome: "ok" },
        { command: "a", outcome: "no" },
        { command: "ok", outcome: "a" }
      ]))
    }))
})
