/**
 * Metrics that are read when somebody looks, from any number of sources: those of several brokers or Workers in one process
 * add up, and the others go on when one of them ends.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/**
 * Adds a source to the series of a gauge with these attributes, whose value is the sum over its sources. Returns a function
 * that removes the source; with the last one the series is gone.
 *
 * @since 0.1.0
 */
export const gauge = (
  metric: Metric.Gauge<number>,
  attributes: Readonly<Record<string, string>>,
  context: Context.Context<never>,
  read: () => number
): () => void =>
  join(metric, attributes, context, read, (own) => ({
    register: (sum) =>
      Metric.registerUnsafe(own, context, { get: () => ({ value: sum() }), update: constVoid, modify: constVoid }),
    leave: constVoid
  }))

/**
 * The same until the scope ends.
 *
 * @since 0.1.0
 */
export const gaugeScoped = (
  metric: Metric.Gauge<number>,
  attributes: Readonly<Record<string, string>>,
  read: () => number
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.contextWith((context: Context.Context<Scope.Scope>) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => gauge(metric, attributes, context, read)),
        (leave) => Effect.sync(leave)
      )
    )
  )

/**
 * Adds a source to the series of a counter with these attributes, whose value is what was counted before and the sum over its
 * sources. Returns a function that removes the source; what it has counted stays.
 *
 * @since 0.1.0
 */
export const counter = (
  metric: Metric.Counter<number>,
  attributes: Readonly<Record<string, string>>,
  context: Context.Context<never>,
  read: () => number
): () => void =>
  join(metric, attributes, context, read, (own) => {
    let before = own.valueUnsafe(context).count
    let total = () => before
    return {
      register: (sum) => {
        total = () => before + sum()
        const registration = Metric.registerUnsafe(own, context, {
          get: () => ({ count: total(), incremental: true }),
          update: constVoid,
          modify: constVoid
        })
        return {
          remove: () => {
            registration.remove()
            // The last look at it comes after the end.
            own.updateUnsafe(before, context)
          }
        }
      },
      leave: (last) => void (before += last)
    }
  })

/** A series of a metric that has sources. */
interface Series {
  readonly sources: Set<() => number>
  readonly registration: Metric.Registration
  /** A source has gone, with this as its last value. */
  readonly leave: (last: number) => void
}

const known = new WeakMap<object, Map<string, Series>>()

const join = <State>(
  metric: Metric.Metric<number, State>,
  attributes: Readonly<Record<string, string>>,
  context: Context.Context<never>,
  read: () => number,
  make: (own: Metric.Metric<number, State>) => {
    readonly register: (sum: () => number) => Metric.Registration
    readonly leave: (last: number) => void
  }
): () => void => {
  const registry = Context.get(context, Metric.MetricRegistry)
  const all = known.get(registry) ?? new Map<string, Series>()
  known.set(registry, all)
  const merged = Object.entries({ ...Context.get(context, Metric.CurrentMetricAttributes), ...attributes })
  const name = JSON.stringify([metric.id, merged.toSorted(([one], [other]) => one < other ? -1 : 1)])
  const series = all.get(name) ?? begin(make(Metric.withAttributes(metric, attributes)))
  all.set(name, series)
  // Its own, even if the same function is given twice.
  const source = () => read()
  series.sources.add(source)
  return () => {
    if (!series.sources.delete(source)) return
    series.leave(read())
    if (series.sources.size > 0) return
    all.delete(name)
    series.registration.remove()
  }
}

const begin = (
  { leave, register }: {
    readonly register: (sum: () => number) => Metric.Registration
    readonly leave: (last: number) => void
  }
): Series => {
  const sources = new Set<() => number>()
  const sum = () => Array.from(sources, (read) => read()).reduce((total, value) => total + value, 0)
  return { sources, registration: register(sum), leave }
}
