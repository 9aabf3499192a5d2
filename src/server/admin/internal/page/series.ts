/**
 * What has happened lately: values by time, and what is made of the counters of the broker.
 */

import type * as Model from "../../AdminModel.ts"

/** What the broker has answered. */
export type Overview = typeof Model.Overview.Type

/** A distribution of durations. */
export type Lag = typeof Model.Lag.Type

/** How many milliseconds are shown. */
export const span = 120_000

/** A value at a time, by `performance.now()`; without a value it is a gap. */
export interface Point {
  readonly at: number
  readonly value: number | undefined
}

/** The last values, the oldest first. */
export type Series = Array<Point>

/** Adds a value, and drops what is too old to be shown. */
export const add = (series: Series, at: number, value: number | undefined): void => {
  series.push({ at, value })
  while (series.length > 0 && series[0]!.at < at - span - 5000) series.shift()
}

/** How much a counter has grown in a second, `undefined` if the broker was started anew since. */
export const rateOf = (
  before: Overview | undefined,
  now: Overview,
  of: (overview: Overview) => number
): number | undefined => {
  if (before === undefined || now.at <= before.at || now.uptime < before.uptime) return undefined
  const grown = of(now) - of(before)
  return grown < 0 ? undefined : grown * 1000 / (now.at - before.at)
}

/** What was measured between two distributions; all of the later one if the broker was started anew since. */
export const between = (before: Lag | undefined, now: Lag): Lag => {
  const counts = now.counts.map((count, index) => count - (before?.counts[index] ?? 0))
  return counts.some((count) => count < 0) ? now : { bounds: now.bounds, counts }
}

/**
 * The value below which this part of a distribution is, between the bounds of its bucket as if all values were spread evenly there;
 * `undefined` if nothing was measured.
 */
export const quantile = ({ bounds, counts }: Lag, part: number): number | undefined => {
  const total = counts.at(-1) ?? 0
  if (total === 0) return undefined
  const rank = part * total
  const index = counts.findIndex((count) => count >= rank)
  // In the last bucket, which has no end.
  if (index >= bounds.length) return bounds.at(-1)
  const [below, from] = index === 0 ? [0, 0] : [counts[index - 1]!, bounds[index - 1]!]
  const inside = counts[index]! - below
  return from + (bounds[index]! - from) * (inside === 0 ? 1 : (rank - below) / inside)
}
