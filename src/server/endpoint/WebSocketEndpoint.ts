/**
 * The endpoint of browsers: WebSocket connections at a vhost's path.
 *
 * A connection is one session, whose messages are handled in order. Messages of a browser are bounded by `maxMessageSize`, its
 * outbound queue by `browsers.outboxSize`: a browser that does not read is disconnected with 1013. A browser is also disconnected if
 * nothing was received from it for a `browsers.pingInterval`, not even a pong, or if it does not authenticate in time.
 *
 * A browser that is refused is told why: by an HTTP status (404 for an unknown vhost, 403 for its origin, 429 or 503 for a
 * limit), or, if it has asked for a version of the protocol (`?v=1`), by the close code of a WebSocket (4400 for an
 * unknown version, 4404, 4405, 1013), since a script in a browser does not see the status. At the end of the broker browsers get
 * 1001, and the end takes `shutdownTimeout` at most.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type { ListenError } from "../../transport/TransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import type { InvalidOptionError } from "../BrokerError.ts"
import * as BrokerMetrics from "../BrokerMetrics.ts"
import { type Vhost, Vhosts } from "../engine/Vhosts.ts"
import * as Admission from "./internal/browser/admission.ts"
import * as Closing from "./internal/browser/closing.ts"
import * as Connection from "./internal/browser/connection.ts"
import * as Fibers from "./internal/browser/fibers.ts"
import * as HttpServer from "./internal/browser/httpServer.ts"
import * as Liveness from "./internal/browser/liveness.ts"
import * as Outbox from "./internal/browser/outbox.ts"
import * as Resources from "./internal/browser/resources.ts"
import * as Turns from "./internal/browser/turns.ts"
import * as Upgrade from "./internal/browser/upgrade.ts"

/**
 * The WebSocket endpoint.
 *
 * @since 0.1.0
 */
export class WebSocketEndpoint extends Context.Service<WebSocketEndpoint, {
  /** The port it is bound to. */
  readonly port: number
}>()("kosmonaut/server/endpoint/WebSocketEndpoint") {}

/**
 * Binds the endpoint and serves it until the scope ends.
 *
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const context = yield* Effect.context<never>()
  const descriptors = Resources.descriptors()
  const admission = yield* Effect.fromResult(Admission.make(config, Math.floor(0.9 * descriptors), context))
  const open = new Set<Connection.Connection>()
  const closing = Closing.make()
  const run = yield* Fibers.make(config.shutdownTimeout)
  const http = yield* HttpServer.listen({
    host: config.host,
    port: config.websocketPort,
    maxConnections: Math.floor(0.95 * descriptors),
    upgraded: () => open.size,
    onDrop: () => run(admission.drop),
    closeTimeout: config.shutdownTimeout,
    close: Turns.forEach(open, (connection) => Connection.close(connection, 1001)),
    destroy: () => {
      for (const { socket } of open) socket.destroy()
      closing.destroyAll()
    }
  })

  const disconnect = (reason: "silent" | "unauthenticated") => (connection: Connection.Connection) => {
    const { code, counter, text } = disconnected[reason]
    counter.updateUnsafe(1, context)
    Connection.close(connection, code, text)
  }
  yield* Liveness.watch(open, config.browsers.pingInterval, disconnect("silent"))
  const newcomers = yield* Liveness.watchAuthentication(
    config.browsers.authenticationTimeout,
    disconnect("unauthenticated")
  )
  const watchVhost = yield* makeVhostWatch(open)
  const rawByteRate = Math.max(4 * config.browsers.byteRate, config.maxMessageSize)
  const connections: Connection.Options = {
    outboxes: Outbox.make({
      outboxSize: config.browsers.outboxSize,
      totalOutboxSize: Math.min(config.browsers.totalOutboxSize, Resources.memory() / 4)
    }),
    // More than the session allows, and never less than a message.
    byteRate: { perSecond: rawByteRate, burst: 5 * rawByteRate },
    onDisconnect: (reason) => disconnected[reason].counter.updateUnsafe(1, context),
    onClose: (connection) => {
      open.delete(connection)
      newcomers.remove(connection)
      connection.release()
    },
    run
  }
  const { onRequest, onUpgrade } = Upgrade.make({
    vhosts: yield* Vhosts,
    admission,
    closing,
    maxMessageSize: config.maxMessageSize,
    onEnter: (entered) => {
      const connection = Connection.make(entered, connections)
      open.add(connection)
      watchVhost(entered.vhost)
      newcomers.add(connection)
    }
  })
  http.on("request", (request, response) => run(onRequest(request, response)))
  http.on("upgrade", (request, _, head) => run(onUpgrade(request, head)))
  return { port: HttpServer.portOf(http) }
})

/**
 * The endpoint as a layer, on the configured `websocketPort`.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<WebSocketEndpoint, ListenError | InvalidOptionError, BrokerConfig | Vhosts> = Layer
  .effect(WebSocketEndpoint, make)

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
