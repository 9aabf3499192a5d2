/** The Grafana dashboard and the alerts of `docs/operations` name metrics that a broker has, with the labels that they have. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { readFileSync } from "node:fs"
import { sendAsStranger } from "./harness/admin.ts"
import { requestOver, transports } from "./harness/backends.ts"
import * as Prometheus from "./harness/prometheus.ts"
import { withBroker } from "./harness/withBroker.ts"

const read = (file: string) => readFileSync(`docs/operations/${file}`, "utf8")

interface Panel {
  readonly title: string
  readonly type: string
  readonly targets?: ReadonlyArray<{ readonly expr: string }>
}

const panels = (JSON.parse(read("grafana-dashboard.json")) as { readonly panels: ReadonlyArray<Panel> }).panels
const alerts = read("prometheus-alerts.yaml")

/** All expressions, in one line each. */
const expressions = [
  ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...Array.from(
    alerts.matchAll(/^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)/gm),
    ([, many, one]) => (many ?? one!).replace(/\s+/g, " ")
  )
]

/** What a broker exports: the names of samples, and the labels that they have. */
const exported = Effect.map(sendAsStranger("GET", "/metrics"), ({ body }) => {
  const names = new Map<string, { readonly type: string; readonly labels: ReadonlySet<string> }>()
  for (const { name, samples, type } of Prometheus.parse(body).values()) {
    for (const sample of samples.keys()) {
      const part = /^(_bucket|_sum|_count)?/.exec(sample)![0]
      const labels = Array.from(sample.matchAll(/([a-z_]+)="/g), ([, label]) => label!.replace(part, ""))
      names.set(name + part, { type, labels: new Set([...labels, ...names.get(name + part)?.labels ?? []]) })
    }
  }
  return names
})

describe("docs/operations", () => {
  it.live("names metrics and labels that are there", () =>
    Effect.gen(function*() {
      // Those are there from the first one on.
      yield* requestOver(transports[0]!.connect)("OC", "room")
      const names = yield* exported
      assert.isAbove(expressions.length, 30)
      for (const expression of expressions) {
        const found = Array.from(expression.matchAll(/\b(kosmonaut_\w+|up)\b/g), ([name]) => name)
        assert.isNotEmpty(found, expression)
        for (const name of found) {
          if (name === "up") continue
          const metric = names.get(name)
          assert.isDefined(metric, `${name} in ${expression}`)
          assert.strictEqual(name.endsWith("_total"), metric!.type === "counter", name)
          // A counter is read as a rate, a gauge as it is.
          if (metric!.type !== "gauge") {
            assert.match(expression, /\b(rate|increase)\(|dropped_dead_letters_total/, expression)
          }
          const by = Array.from(expression.matchAll(/by \(([^)]*)\)|\b(\w+)=~?"/g), ([, list, label]) => list ?? label!)
          for (const label of by.join(",").split(/, ?/)) {
            if (["", "instance", "job"].includes(label)) {
              continue
            }
            assert.isTrue(metric!.labels.has(label), `${label} of ${name} in ${expression}`)
          }
        }
      }
    }).pipe(
      withBroker({ admin: { port: 0 } }),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))

  it("has panels and alerts of all metrics of a broker", () => {
    const all = Array.from(
      readFileSync("src/server/BrokerMetrics.ts", "utf8").matchAll(/"(kosmonaut_broker_\w+)"/g),
      ([, name]) => name!
    )
    const dashboard = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join("\n")
    assert.isAbove(all.length, 20)
    assert.deepEqual(all.filter((name) => !dashboard.includes(name)), [])
    const names = Array.from(alerts.matchAll(/^ {6}- alert: (\w+)$/gm), ([, name]) => name!)
    assert.strictEqual(new Set(names).size, names.length)
    assert.strictEqual(alerts.match(/^ {10}summary: /gm)!.length, names.length)
  })
})
