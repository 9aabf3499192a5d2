import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Metric } from "effect"
import * as MetricSources from "../../src/protocol/MetricSources.ts"

const gauge = Metric.gauge("test_gauge")
const counter = Metric.counter("test_counter", { incremental: true })

/** What is seen in a registry of its own. */
const begin = () => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  const seen = () =>
    Metric.snapshotUnsafe(context).map(({ attributes, id, state }) => [
      id,
      ...Object.values(attributes ?? {}),
      "value" in state ? state.value : "count" in state ? state.count : undefined
    ])
  return { context, seen }
}

describe("MetricSources", () => {
  it("a gauge is the sum of its sources, as long as there are any", () => {
    const { context, seen } = begin()
    const values = [1, 10]
    const [leaveOne, leaveOther] = values.map((_, index) =>
      MetricSources.gauge(gauge, {}, context, () => values[index]!)
    )
    expect(seen()).toEqual([["test_gauge", 11]])
    values[0] = 2
    expect(seen()).toEqual([["test_gauge", 12]])
    leaveOne!()
    leaveOne!()
    expect(seen()).toEqual([["test_gauge", 10]])
    leaveOther!()
    expect(seen()).toEqual([])
    MetricSources.gauge(gauge, {}, context, () => 5)
    expect(seen()).toEqual([["test_gauge", 5]])
  })

  it("a counter never goes back, whoever ends", () => {
    const { context, seen } = begin()
    counter.updateUnsafe(100, context)
    const values = [1, 10]
    const [leaveOne, leaveOther] = values.map((_, index) =>
      MetricSources.counter(counter, {}, context, () => values[index]!)
    )
    expect(seen()).toEqual([["test_counter", 111]])
    leaveOne!()
    values[0] = 1000
    values[1] = 20
    expect(seen()).toEqual([["test_counter", 121]])
    leaveOther!()
    expect(seen()).toEqual([["test_counter", 121]])
    const leave = MetricSources.counter(counter, {}, context, () => 4)
    expect(seen()).toEqual([["test_counter", 125]])
    leave()
    expect(seen()).toEqual([["test_counter", 125]])
  })

  it("keeps series and registries apart, by the attributes of their context as well", () => {
    const [one, other] = [begin(), begin()]
    MetricSources.gauge(gauge, { kind: "a" }, one.context, () => 1)
    MetricSources.gauge(gauge, { kind: "b" }, one.context, () => 2)
    MetricSources.gauge(
      gauge,
      { kind: "a" },
      Context.add(one.context, Metric.CurrentMetricAttributes, { app: "c" }),
      () => 4
    )
    MetricSources.gauge(gauge, { kind: "a" }, other.context, () => 8)
    expect(one.seen().map((row) => row.join()).toSorted()).toEqual([
      "test_gauge,a,1",
      "test_gauge,b,2",
      "test_gauge,c,a,4"
    ])
    expect(other.seen()).toEqual([["test_gauge", "a", 8]])
  })

  it.effect("is what other metrics of the same name are added to, and not replaced by", () =>
    Effect.gen(function*() {
      const { context, seen } = begin()
      const leave = MetricSources.gauge(gauge, {}, context, () => 3)
      yield* Effect.provideContext(Metric.update(gauge, 7), context)
      expect(seen()).toEqual([["test_gauge", 3]])
      leave()
    }))
})
