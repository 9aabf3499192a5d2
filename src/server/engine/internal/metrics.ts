/**
 * The metrics that are read from the engine on demand. Several brokers in one process add up.
 */

import * as Effect from "effect/Effect"
import type * as Metric from "effect/Metric"
import * as Record from "effect/Record"
import type * as Scope from "effect/Scope"
import * as MetricSources from "../../../protocol/MetricSources.ts"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import type { Browsers } from "../Browsers.ts"
import type { Channels } from "../Channels.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import type { Lobby } from "../Lobby.ts"
import * as Requests from "./requests.ts"

export { make as makeLags } from "./lags.ts"

/** The parts of a vhost that have metrics. */
interface Vhost {
  readonly channels: Channels
  readonly lobby: Lobby
  readonly deadLetters: DeadLetters
  readonly browsers: Browsers
}

const counters = {
  broadcasts: ({ channels }: Vhost) => channels.counters.broadcasts,
  deliveries: ({ channels }: Vhost) => channels.counters.deliveries,
  rejected: ({ browsers }: Vhost) => browsers.counters.rejected,
  deadLettersDropped: ({ deadLetters }: Vhost) => deadLetters.counters.dropped,
  accepted: ({ lobby }: Vhost) => lobby.counters.accepted,
  delivered: ({ lobby }: Vhost) => lobby.counters.delivered,
  acknowledged: ({ lobby }: Vhost) => lobby.counters.acknowledged,
  redelivered: ({ lobby }: Vhost) => lobby.counters.redelivered,
  refused: ({ lobby }: Vhost) => lobby.counters.refused,
  dropped: ({ lobby }: Vhost) => lobby.counters.dropped,
  ...Record.mapEntries(Requests.none, (_, outcome) => [
    `request_${outcome}` as const,
    ({ lobby }: Vhost) => lobby.requests.counted[outcome]
  ])
}

/** The outcomes of events, as the metric names them. */
const outcomes = ["accepted", "delivered", "acknowledged", "redelivered", "refused", "dropped"] as const

/** The counters of a vhost, which the broker still includes when the vhost is removed. */
export type Totals = { readonly [Name in keyof typeof counters]: number }

/** All counters at 0. */
export const nothing: Totals = Record.map(counters, () => 0)

/** The totals plus the counters of a vhost. */
export const add = (totals: Totals, vhost: Vhost): Totals =>
  Record.map(counters, (countOf, name) => totals[name] + countOf(vhost))

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
  const counter = (metric: Metric.Counter<number>, name: keyof Totals, attributes = {}) =>
    scoped(() =>
      MetricSources.counter(
        metric,
        attributes,
        context,
        () => Array.from(vhosts(), counters[name]).reduce((sum, value) => sum + value, removed()[name])
      )
    )

  yield* gauge(BrokerMetrics.browsers, ({ browsers }) => browsers.countOwn())
  yield* gauge(BrokerMetrics.workers, ({ lobby }) => lobby.counters.workers)
  yield* gauge(BrokerMetrics.channels, ({ channels }) => channels.counters.channels)
  yield* gauge(BrokerMetrics.subscriptions, ({ channels }) => channels.counters.subscriptions)
  yield* gauge(BrokerMetrics.queuedEvents, ({ lobby }) => lobby.counters.queued)
  yield* scoped(() => MetricSources.gauge(BrokerMetrics.oldestEvent, {}, context, () => oldestAge(vhosts()) / 1000))
  yield* counter(BrokerMetrics.broadcasts, "broadcasts")
  yield* counter(BrokerMetrics.deliveries, "deliveries")
  yield* counter(BrokerMetrics.rejectedMessages, "rejected")
  yield* gauge(BrokerMetrics.unacknowledgedEvents, ({ lobby }) => lobby.counters.unacknowledged)
  yield* gauge(BrokerMetrics.deadLetters, ({ deadLetters }) => deadLetters.counters.count)
  yield* counter(BrokerMetrics.droppedDeadLetters, "deadLettersDropped")
  yield* Effect.forEach(
    Requests.outcomes,
    (outcome) => counter(BrokerMetrics.handledRequests, `request_${outcome}`, { outcome }),
    { discard: true }
  )
  yield* Effect.forEach(outcomes, (outcome) => counter(BrokerMetrics.events, outcome, { outcome }), { discard: true })
})

const oldestAge = (vhosts: Iterable<Vhost>): number =>
  Array.from(vhosts).reduce((oldest, { lobby }) => Math.max(oldest, lobby.counters.oldestAge), 0)
