/**
 * How long broadcasts and events take in the broker: by the rule of the channel, and by the lane of the event. All vhosts share
 * them, and so do several brokers in one process.
 *
 * What is measured costs two looks at a clock and one number in a bucket, so of a broadcast only one delivery is, each time
 * that to another subscriber.
 */

import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import type { Lag } from "../../domain/Browser.ts"

/** The lags of a broker. */
export interface Lags {
  /** From a broadcast on a channel whose rule has this pattern, to the socket of a subscriber. */
  readonly ofRule: (pattern: string | undefined) => Lag
  /** From an event's trigger to its ack, by lane. */
  readonly ofLane: { readonly events: Lag; readonly requests: Lag; readonly lifecycle: Lag }
}

/** How many patterns have a series of their own, each of at most so many characters. Others share one. */
const maxPatterns = 100
const maxLength = 200

/** Makes them. Those of channels without a rule and of all lanes are there from the start, others once they are measured. */
export const make = (context: Context.Context<never>): Lags => {
  const lagOf = (metric: Metric.Histogram<number>): Lag => {
    // Makes the series, so that it is exported before anything is measured.
    metric.valueUnsafe(context)
    return { addUnsafe: (millis) => metric.updateUnsafe(millis / 1000, context) }
  }
  const none = lagOf(BrokerMetrics.broadcastLag("none"))
  let other: Lag | undefined
  const patterns = new Map<string, Lag>()
  const add = (pattern: string): Lag => {
    if (pattern.length > maxLength || patterns.size === maxPatterns) {
      return other ??= lagOf(BrokerMetrics.broadcastLag("other"))
    }
    const lag = lagOf(BrokerMetrics.broadcastLag(pattern))
    patterns.set(pattern, lag)
    return lag
  }
  const ofLane = (lane: keyof Lags["ofLane"]) => lagOf(BrokerMetrics.eventLag(lane))
  return {
    ofRule: (pattern) => pattern === undefined ? none : patterns.get(pattern) ?? add(pattern),
    ofLane: { events: ofLane("events"), requests: ofLane("requests"), lifecycle: ofLane("lifecycle") }
  }
}
