/**
 * What the metrics of the process have measured, read once: the sums over all series of a metric.
 */

import type * as Metric from "effect/Metric"

/** The series of a metric are summed up, those of all its attributes. */
export interface Measured {
  /** The value of a counter or a gauge, 0 if nothing was measured; if given, of the series with this outcome only. */
  readonly valueOf: (metric: { readonly id: string }, outcome?: string) => number
  /** The distribution of a histogram. */
  readonly lagOf: (metric: { readonly id: string }) => Lag
}

/** A distribution: how many took at most as many seconds as `bounds` has in the same place, and at the end how many there were. */
export interface Lag {
  readonly bounds: ReadonlyArray<number>
  readonly counts: ReadonlyArray<number>
}

/** Reads them. */
export const make = (snapshots: ReadonlyArray<Metric.Metric.Snapshot>): Measured => {
  const series = Map.groupBy(snapshots, ({ id }) => id)
  const of = ({ id }: { readonly id: string }) => series.get(id) ?? []
  return {
    valueOf: (metric, outcome) =>
      of(metric)
        .filter(({ attributes }) => outcome === undefined || attributes?.["outcome"] === outcome)
        .reduce((sum, snapshot) => sum + numberOf(snapshot), 0),
    lagOf: (metric) =>
      of(metric).reduce(
        (lag: Lag, snapshot) => snapshot.type === "Histogram" ? addLag(lag, snapshot.state) : lag,
        { bounds: [], counts: [] }
      )
  }
}

const numberOf = (snapshot: Metric.Metric.Snapshot): number =>
  snapshot.type === "Counter"
    ? Number(snapshot.state.count)
    : snapshot.type === "Gauge"
    ? Number(snapshot.state.value)
    : 0

// All series of a metric have the same buckets.
const addLag = ({ counts }: Lag, { buckets, count }: Metric.HistogramState): Lag => ({
  bounds: buckets.map(([bound]) => bound),
  counts: [...buckets.map(([, below]) => below), count].map((number, index) => number + (counts[index] ?? 0))
})
