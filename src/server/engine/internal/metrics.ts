/**
 * The metrics that are read from the engine on demand. Several brokers in one process add up.
 */

import * as Effect from "effect/Effect"
import type * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as MetricSources from "../../../protocol/MetricSources.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import type { Browsers } from "../Browsers.ts"
import type { Channels } from "../Channels.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { Lobby } from "../Lobby.ts"

/** The parts of a vhost that have metrics. */
interface Vhost {
  readonly channels: Channels
  readonly lobby: Lobby
  readonly deadLetters: DeadLetters
  readonly browsers: Browsers
}

/** The outcomes of events, as the metric names them. */
const outcomes = ["accepted", "delivered", "acknowledged", "redelivered", "refused", "dropped"] as const

/** The counters of a vhost, which the broker still includes when the vhost is removed. */
export type Totals = {
  readonly [Count in "broadcasts" | "deliveries" | "rejected" | "deadLettersDropped" | (typeof outcomes)[number]]:
    number
}

/** All counters at 0. */
export const nothing: Totals = {
  broadcasts: 0,
  deliveries: 0,
  rejected: 0,
  deadLettersDropped: 0,
  accepted: 0,
  delivered: 0,
  acknowledged: 0,
  redelivered: 0,
  refused: 0,
  dropped: 0
}

/** The totals plus the counters of a vhost. */
export const add = (totals: Totals, { browsers, channels, deadLetters, lobby }: Vhost): Totals => ({
  broadcasts: totals.broadcasts + channels.counters.broadcasts,
  deliveries: totals.deliveries + channels.counters.deliveries,
  rejected: totals.rejected + browsers.counters.rejected,
  deadLettersDropped: totals.deadLettersDropped + deadLetters.counters.dropped,
  accepted: totals.accepted + lobby.counters.accepted,
  delivered: totals.delivered + lobby.counters.delivered,
  acknowledged: totals.acknowledged + lobby.counters.acknowledged,
  redelivered: totals.redelivered + lobby.counters.redelivered,
  refused: totals.refused + lobby.counters.refused,
  dropped: totals.dropped + lobby.counters.dropped
})

/** Registers them until the scope ends. `removed` returns the totals of removed vhosts. */
export const register = Effect.fnUntraced(function*(
  vhosts: () => Iterable<Vhost>,
  removed: () => Totals
): Effect.fn.Return<void, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const scoped = (join: () => () => void) => Effect.acquireRelease(Effect.sync(join), (leave) => Effect.sync(leave))
  const gauge = (metric: Metric.Gauge<number>, of: (vhost: Vhost) => number) =>
    scoped(() =>
      MetricSources.gauge(metric, {}, context, () => Array.from(vhosts(), of).reduce((sum, value) => sum + value, 0))
    )
  const counter = (metric: Metric.Counter<number>, of: (totals: Totals) => number, attributes = {}) =>
    scoped(() =>
      MetricSources.counter(metric, attributes, context, () => of(Array.from(vhosts()).reduce(add, removed())))
    )

  yield* gauge(BrokerMetrics.browsers, ({ browsers }) => browsers.count())
  yield* gauge(BrokerMetrics.workers, ({ lobby }) => lobby.counters.workers)
  yield* gauge(BrokerMetrics.channels, ({ channels }) => channels.counters.channels)
  yield* gauge(BrokerMetrics.subscriptions, ({ channels }) => channels.counters.subscriptions)
  yield* gauge(BrokerMetrics.queuedEvents, ({ lobby }) => lobby.counters.queued)
  yield* counter(BrokerMetrics.broadcasts, ({ broadcasts }) => broadcasts)
  yield* counter(BrokerMetrics.deliveries, ({ deliveries }) => deliveries)
  yield* counter(BrokerMetrics.rejectedMessages, ({ rejected }) => rejected)
  yield* gauge(BrokerMetrics.unacknowledgedEvents, ({ lobby }) => lobby.counters.unacknowledged)
  yield* gauge(BrokerMetrics.deadLetters, ({ deadLetters }) => deadLetters.counters.count)
  yield* counter(BrokerMetrics.droppedDeadLetters, ({ deadLettersDropped }) => deadLettersDropped)
  yield* Effect.forEach(
    outcomes,
    (outcome) => counter(BrokerMetrics.events, (totals) => totals[outcome], { outcome }),
    { discard: true }
  )
})
