/**
 * All browsers of one endpoint, whatever HTTP server they come in by: which are admitted, what they are limited to, and how
 * they are closed.
 */

import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Http from "node:http"
import * as MetricSources from "../../../../protocol/MetricSources.ts"
import { BrokerConfig } from "../../../BrokerConfig.ts"
import * as BrokerMetrics from "../../../BrokerMetrics.ts"
import { Cluster } from "../../../engine/Cluster.ts"
import { type Vhost, Vhosts } from "../../../engine/Vhosts.ts"
import * as Admission from "./admission.ts"
import type { Answer } from "./answer.ts"
import * as Closing from "./closing.ts"
import * as Connection from "./connection.ts"
import * as Drain from "./drain.ts"
import * as Fibers from "./fibers.ts"
import * as Liveness from "./liveness.ts"
import * as Outbox from "./outbox.ts"
import * as Resources from "./resources.ts"
import * as Turns from "./turns.ts"
import * as Upgrade from "./upgrade.ts"

/** The browsers of one endpoint. */
export interface Connections {
  /** Answers a request that is no upgrade. `path` is that of the vhost. */
  readonly answer: (request: Http.IncomingMessage, path: string) => Effect.Effect<Answer>
  /** Makes a WebSocket of a connection, or rejects it. */
  readonly upgrade: (request: Http.IncomingMessage, path: string, head: Buffer) => Effect.Effect<void>
  /** A connection was closed without a request. */
  readonly drop: Effect.Effect<void>
  /** How many browsers are connected. */
  readonly count: () => number
  /** How they leave at the end of the broker. */
  readonly drain: Drain.Drain
  /** Closes all with 1001 at once. They are given time to answer. */
  readonly close: Effect.Effect<void>
  /** Waits until none is left. */
  readonly closed: Effect.Effect<void>
  /** Destroys those that are left, and those that were rejected. */
  readonly destroy: () => void
  /** Runs an effect in a fiber, which the end of the scope waits for. */
  readonly run: Fibers.Run
  /** How many file descriptors there may be. */
  readonly descriptors: number
}

/** Makes an endpoint without browsers. The owner of its scope closes them. */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const context = yield* Effect.context<never>()
  const descriptors = Resources.descriptors()
  const admission = yield* Effect.fromResult(Admission.make(config, Math.floor(0.9 * descriptors), context))
  for (const { counter } of Object.values(disconnected)) counter.updateUnsafe(0, context)
  const open = new Set<Connection.Connection>()
  const closing = Closing.make()
  const run = yield* Fibers.make(config.shutdownTimeout)
  const drain = Drain.make({ open, run, time: config.drainTime })

  const disconnect = (reason: "silent" | "unauthenticated") => (connection: Connection.Connection) => {
    const { code, counter, text } = disconnected[reason]
    counter.updateUnsafe(1, context)
    Connection.close(connection, code, text, reason === "silent")
  }
  const { authenticationTimeout, pingInterval } = config.browsers
  yield* Liveness.watch(open, pingInterval, disconnect("silent"))
  const newcomers = yield* Liveness.watchAuthentication(authenticationTimeout, disconnect("unauthenticated"))
  const watchVhost = yield* makeVhostWatch(open)
  const options = optionsOf(config, {
    node: yield* node,
    onDisconnect: (reason) => disconnected[reason].counter.updateUnsafe(1, context),
    onClose: (connection) => {
      open.delete(connection)
      newcomers.remove(connection)
      connection.release()
    },
    run
  })
  yield* watchOutboxes(options.outboxes)
  const { answer, upgrade } = Upgrade.make({
    vhosts: yield* Vhosts,
    admission,
    closing,
    maxMessageSize: config.maxMessageSize,
    isStopping: drain.hasBegun,
    onEnter: (entered) => {
      const connection = Connection.make(entered, options)
      open.add(connection)
      watchVhost(entered.vhost)
      newcomers.add(connection)
    }
  })
  return {
    answer,
    upgrade,
    drop: admission.drop,
    count: () => open.size,
    drain,
    close: Turns.forEach(open, (connection) => Connection.close(connection, 1001)),
    closed: Effect.suspend(() => whenClosed([...open].map(({ socket }) => socket))),
    destroy: () => {
      for (const { socket } of open) socket.destroy()
      closing.destroyAll()
    },
    run,
    descriptors
  } satisfies Connections
})

const node = Effect.map(
  Effect.serviceOption(Cluster),
  Option.match({ onNone: () => undefined, onSome: ({ self }) => self })
)

const optionsOf = (
  { browsers: { byteRate, outboxSize, totalOutboxSize }, maxMessageSize }: BrokerConfig["Service"],
  handlers: Omit<Connection.Options, "outboxes" | "byteRate">
): Connection.Options => {
  // More than the session allows, and never less than a message.
  const perSecond = Math.max(4 * byteRate, maxMessageSize)
  return {
    ...handlers,
    outboxes: Outbox.make({ outboxSize, totalOutboxSize: Math.min(totalOutboxSize, Resources.memory() / 4) }),
    byteRate: { perSecond, burst: 5 * perSecond }
  }
}

const watchOutboxes = (outboxes: Outbox.Outboxes) =>
  Effect.andThen(
    MetricSources.gaugeScoped(BrokerMetrics.blockedBrowsers, {}, () => outboxes.blocked.size),
    MetricSources.gaugeScoped(BrokerMetrics.blockedBytes, {}, () => outboxes.queued)
  )

const whenClosed = (sockets: ReadonlyArray<Connection.Connection["socket"]>): Effect.Effect<void> =>
  Effect.forEach(
    sockets.filter(({ destroyed }) => !destroyed),
    (socket) => Effect.callback<void>((resume) => void socket.once("close", () => resume(Effect.void))),
    { concurrency: "unbounded", discard: true }
  )

/** Why a browser is disconnected: the close code, its text, and the counter. */
const disconnected = {
  slow: { counter: BrokerMetrics.slowBrowsers },
  flood: { counter: Metric.withAttributes(BrokerMetrics.disconnectedBrowsers, { reason: "flood" }) },
  silent: {
    counter: Metric.withAttributes(BrokerMetrics.disconnectedBrowsers, { reason: "silent" }),
    code: 1001,
    text: "nothing was received since the last ping"
  },
  unauthenticated: {
    counter: Metric.withAttributes(BrokerMetrics.disconnectedBrowsers, { reason: "unauthenticated" }),
    code: 1008,
    text: "the browser has not authenticated in time"
  }
}

// Closes the browsers of a vhost that is removed. One fiber for each vhost, and none for its browsers.
const makeVhostWatch = Effect.fnUntraced(function*(open: Iterable<Connection.Connection>) {
  const scope = yield* Effect.scope
  const watched = new Set<Vhost>()
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return (vhost: Vhost): void => {
    if (watched.has(vhost)) return
    watched.add(vhost)
    const removed = Effect.flatMap(vhost.removed, () => {
      watched.delete(vhost)
      return Turns.forEach(open, (connection) => {
        if (connection.vhost === vhost) Connection.close(connection, 1001)
      })
    })
    const logged = Effect.catchCause(removed, (cause) => Effect.logError("A vhost's browsers were not closed", cause))
    run(Effect.forkIn(logged, scope))
  }
})
