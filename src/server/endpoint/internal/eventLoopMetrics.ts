/**
 * Registers the metrics of the event loop, which are measured continuously and read on demand.
 *
 * A process has one event loop, so that all endpoints of it that share a registry share these metrics, too.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as EventLoop from "../../../transport/EventLoop.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"

/** How often the delay is measured, in milliseconds, and the window of its maximum. */
const resolution = 20
const window = 60_000

/** How many endpoints have registered them in each registry, and how to remove them. */
const registered = new WeakMap<object, { count: number; readonly end: () => void }>()

/** Registers them for the scope. */
export const register: Effect.Effect<void, never, Scope.Scope> = Effect.gen(function*() {
  const context = yield* Effect.context<never>()
  const registry = yield* Metric.MetricRegistry
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const known = registered.get(registry) ?? { count: 0, end: registerUnsafe(context) }
      known.count++
      registered.set(registry, known)
      return known
    }),
    (known) =>
      Effect.sync(() => {
        if (--known.count > 0) return
        registered.delete(registry)
        known.end()
      })
  )
})

const registerUnsafe = (context: Parameters<typeof Metric.snapshotUnsafe>[0]): () => void => {
  const delay = makeDelay()
  const gauge = (metric: Metric.Gauge<number>, read: () => number) =>
    Metric.registerUnsafe(metric, context, { get: () => ({ value: read() }), update: constVoid, modify: constVoid })
  const registrations = [
    gauge(BrokerMetrics.longestTurn, EventLoop.longestTurn),
    gauge(BrokerMetrics.eventLoopDelay, delay.read)
  ]
  return () => {
    for (const registration of registrations) registration.remove()
    delay.end()
  }
}

// The histogram counts the time from one measurement to the next, of which `resolution` is no delay.
const makeDelay = () => {
  const histogram = monitorEventLoopDelay({ resolution })
  histogram.enable()
  let since = performance.now()
  let before = 0
  const seen = () => Math.max(0, histogram.max / 1e6 - resolution)
  return {
    read: (): number => {
      const now = performance.now()
      const current = seen()
      const longest = Math.max(current, before)
      if (now - since > window) {
        before = now - since < 2 * window ? current : 0
        since = now
        histogram.reset()
      }
      return longest / 1000
    },
    end: () => {
      histogram.disable()
    }
  }
}
