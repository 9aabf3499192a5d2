/**
 * The handlers of `AdminApi` for the broker as a whole.
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as BrokerMetrics from "../../BrokerMetrics.ts"
import { Cluster } from "../../engine/Cluster.ts"
import type * as Engine from "../../engine/Vhosts.ts"
import { ofView } from "../../engine/VhostViews.ts"
import { type Counts, Vhosts } from "../../Vhosts.ts"
import { AdminApi } from "../AdminApi.ts"
import * as Errors from "../AdminError.ts"
import * as Model from "../AdminModel.ts"
import { version } from "../Version.ts"
import * as Browsers from "./browsers.ts"
import * as Measured from "./measured.ts"
import * as Tail from "./tail.ts"

/** When the broker has begun, in monotonic nanoseconds. The handlers are made much later, at the first request. */
export class Begun extends Context.Service<Begun, bigint>()("kosmonaut/server/admin/internal/Begun") {}

/** The handlers. */
export const layer = HttpApiBuilder.group(
  AdminApi,
  "broker",
  Effect.fnUntraced(function*(handlers) {
    const begun = yield* Begun
    const cluster = yield* Effect.serviceOption(Cluster)
    return handlers
      .handle("status", () => status(begun))
      .handle("nodes", () => nodesOf(cluster))
      .handle("overview", () => overview(begun))
      .handle("slowBrowsers", () => Browsers.slowest)
      .handle("tailRefusals", () => Effect.succeed(Tail.ofRefusals))
  })
)

const status = Effect.fnUntraced(function*(begun: bigint) {
  const now = yield* Clock.monotonicTimeNanos
  const vhosts = yield* Vhosts.use(({ list }) => list)
  const counts = yield* Effect.forEach(vhosts, (vhost) => vhost.counts)
  const engines = vhosts.map(ofView)
  const sum = (count: (vhost: Engine.Vhost) => number) => engines.reduce((total, vhost) => total + count(vhost), 0)
  return {
    version,
    uptime: Math.floor(Number(now - begun) / 1e9),
    vhosts: vhosts.length,
    counts: counts.reduce(add, Record.map(Model.Counts.fields, () => 0)),
    totals: {
      broadcasts: sum(({ channels }) => channels.counters.broadcasts),
      deliveries: sum(({ channels }) => channels.counters.deliveries),
      events: sum(({ lobby }) => lobby.counters.accepted),
      acknowledged: sum(({ lobby }) => lobby.counters.acknowledged)
    }
  }
})

const nodesOf = (cluster: Option.Option<Cluster["Service"]>) =>
  Option.match(cluster, {
    onNone: () => Effect.succeed({ nodes: [] }),
    onSome: ({ nodes, self }) =>
      Effect.mapBoth(nodes, {
        onFailure: ({ message }) => new Errors.UnavailableError({ message }),
        onSuccess: (all) => ({
          self,
          nodes: all.map(({ lease, ...node }) => ({ ...node, leaseSeconds: lease / 1000 }))
        })
      })
  })

const add = (one: Counts, other: Counts): Counts => Record.map(one, (count, what) => count + other[what])

const overview = Effect.fnUntraced(function*(begun: bigint) {
  const { lagOf, valueOf } = Measured.make(yield* Metric.snapshot)
  return {
    ...yield* status(begun),
    at: Number(yield* Clock.monotonicTimeNanos) / 1e6,
    oldestSeconds: valueOf(BrokerMetrics.oldestEvent),
    blocked: { browsers: valueOf(BrokerMetrics.blockedBrowsers), bytes: valueOf(BrokerMetrics.blockedBytes) },
    refused: {
      browsers: valueOf(BrokerMetrics.refusedBrowsers),
      messages: valueOf(BrokerMetrics.rejectedMessages),
      events: valueOf(BrokerMetrics.events, "refused"),
      slow: valueOf(BrokerMetrics.slowBrowsers),
      disconnected: valueOf(BrokerMetrics.disconnectedBrowsers)
    },
    delaySeconds: valueOf(BrokerMetrics.eventLoopDelay),
    memory: process.memoryUsage.rss(),
    lag: {
      broadcasts: lagOf(BrokerMetrics.broadcastLag("none")),
      events: lagOf(BrokerMetrics.eventLag("events"))
    }
  }
})
