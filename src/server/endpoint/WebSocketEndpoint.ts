/**
 * The endpoint of browsers: WebSocket connections at a vhost's path, and the script for browsers at `/kosmonaut.js`.
 *
 * A connection is one session, whose messages are handled in order. Messages of a browser are bounded by `maxMessageSize`, its
 * outbound queue by `browsers.outboxSize`: a browser that does not read is disconnected with 1013. A browser is also
 * disconnected if nothing was received from it for a `browsers.pingInterval`, not even a pong, or if it does not authenticate
 * in time.
 *
 * A browser that is refused receives the reason: an HTTP status (404 for an unknown vhost, 403 for its origin, 429 or 503 for a
 * limit), or, if it has asked for a version of the protocol (`?v=1`), by the close code of a WebSocket (4400 for an
 * unknown version, 4404, 4405, 1013), since a script in a browser does not see the status. At the end of the broker browsers get
 * 1001, spread over `drainTime`, and new ones are refused with 503, whatever
 * they have asked for, so that a proxy asks the next node. What is left then has `shutdownTimeout`.
 *
 * If the broker has a `Certificate`, the port speaks TLS alone: `wss` and `https`.
 *
 * @since 0.1.0
 */

import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as EffectHttpServer from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Http from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as EventLoop from "../../transport/EventLoop.ts"
import type { ListenError } from "../../transport/TransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import type { InvalidOptionError } from "../BrokerError.ts"
import { Vhosts } from "../engine/Vhosts.ts"
import { Certificate } from "./Certificate.ts"
import * as ApplicationServer from "./internal/browser/applicationServer.ts"
import * as Connections from "./internal/browser/connections.ts"
import * as HttpServer from "./internal/browser/httpServer.ts"
import * as Routes from "./internal/browser/routes.ts"
import { pathOf } from "./internal/browser/upgrade.ts"

/**
 * The WebSocket endpoint.
 *
 * @since 0.1.0
 */
export class WebSocketEndpoint extends Context.Service<WebSocketEndpoint, {
  /** The scheme of its URLs. */
  readonly scheme: "ws" | "wss"
  /** The port it is bound to. */
  readonly port: number
  /** Its path, below which the vhosts are. */
  readonly prefix: string
  /**
   * Refuses new browsers, and closes all others with 1001, spread over `drainTime`. Safe to repeat. Without it they are closed
   * at once when the endpoint ends.
   */
  readonly drain: Effect.Effect<void>
  /** Whether that has begun. */
  readonly isDraining: () => boolean
}>()("kosmonaut/server/endpoint/WebSocketEndpoint") {}

// Binds the endpoint and serves it until the scope ends.
const make = Effect.gen(function*() {
  const config = yield* BrokerConfig
  const { decrypt } = yield* Certificate
  const connections = yield* Connections.make
  const { answer, run, upgrade } = connections
  const http = yield* HttpServer.listen({
    host: config.host,
    port: config.websocketPort,
    decrypt,
    maxConnections: Math.floor(0.95 * connections.descriptors),
    upgraded: connections.count,
    onDrop: () => run(connections.drop),
    closeTimeout: config.shutdownTimeout,
    close: connections.close,
    destroy: connections.destroy
  })
  http.on("request", (request, response) =>
    run(Effect.map(
      answer(request, pathOf(request)),
      (answer) => HttpServer.respond(request, response, answer)
    )))
  http.on("upgrade", (request, socket, head) => inTurn(socket, () => run(upgrade(request, pathOf(request), head))))
  const { hasBegun: isDraining, run: drain } = connections.drain
  const scheme = decrypt === undefined ? "ws" as const : "wss" as const
  return { scheme, port: HttpServer.portOf(http), prefix: "", drain, isDraining }
})

// Hundreds may come in the same moment.
const inTurn = (socket: Duplex, enter: () => void): void => {
  EventLoop.begin()
  if (!EventLoop.isOver()) return enter()
  socket.on("error", constVoid)
  EventLoop.enqueueLast(() => {
    if (!socket.destroyed) enter()
  })
}

/**
 * The endpoint as a layer, on the configured `websocketPort`.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  WebSocketEndpoint,
  ListenError | InvalidOptionError,
  BrokerConfig | Certificate | Vhosts
> = Layer.effect(WebSocketEndpoint, make)

/**
 * The endpoint on the HTTP server of an application, below the prefix of `layerServer`: the vhost `/chat` is at `/chat`, or with
 * the prefix `/live` at `/live/chat`. A vhost wins over a pattern of the application, such as `/*`, and an application's route with
 * the same path wins over a vhost, whichever layer is built first.
 *
 * The server must be one of Node.js; browsers have its sockets directly, as on a port of the broker's own. How many
 * connections without a request it accepts, and for how long, is up to that server. When it ends, browsers get 1001, and
 * connections without a request are closed.
 *
 * @since 0.1.0
 */
export const layerHttp: Layer.Layer<
  WebSocketEndpoint,
  InvalidOptionError,
  | EffectHttpServer.HttpServer
  | ApplicationServer.ApplicationServer
  | Routes.Mount
  | BrokerConfig
  | Certificate
  | Vhosts
> = Layer.effect(WebSocketEndpoint)(Effect.gen(function*() {
  const { address } = yield* EffectHttpServer.HttpServer
  const { stopped } = yield* ApplicationServer.ApplicationServer
  const { prefix, serve } = yield* Routes.Mount
  const { shutdownTimeout } = yield* BrokerConfig
  const connections = yield* Connections.make
  const close = Effect.timeoutOption(
    Effect.interruptible(Effect.andThen(connections.close, connections.closed)),
    shutdownTimeout
  )
  yield* Effect.addFinalizer(() => Effect.andThen(close, Effect.sync(connections.destroy)))
  yield* Effect.forkScoped(Effect.andThen(stopped, connections.drain.run))
  yield* serve({ vhosts: yield* Vhosts, handle: handle(connections) })
  // Whether that server encrypts only the application knows.
  const { hasBegun: isDraining, run: drain } = connections.drain
  return { scheme: "ws" as const, port: "port" in address ? address.port : 0, prefix, drain, isDraining }
}))

/**
 * What `layerHttp` needs of the server, for as long as that lives: the routes, and to know when it stops. Until the application has
 * added its routes, requests are answered 503 from here on.
 *
 * @since 0.1.0
 */
export const layerServer = (
  { prefix = "" }: { readonly prefix?: `/${string}` | "" | undefined } = {}
): Layer.Layer<
  ApplicationServer.ApplicationServer | Routes.Mount,
  never,
  EffectHttpServer.HttpServer | HttpRouter.HttpRouter
> => Layer.merge(ApplicationServer.layer, Routes.layer(prefix))

const handle = ({ answer, upgrade }: Connections.Connections): Routes.Served["handle"] => (request, path) =>
  Effect.suspend(() => {
    const incoming = NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage
    if (!Routes.isUpgrade(request)) {
      return Effect.map(
        answer(incoming, path),
        ({ body, headers, status }) =>
          HttpServerResponse.text(body, { status, headers, contentType: headers["content-type"] })
      )
    }
    takeSocket(request, incoming.socket)
    // What a browser sends before it is answered is lost, but no browser does.
    return Effect.as(upgrade(incoming, path, Buffer.alloc(0)), HttpServerResponse.empty({ status: 101 }))
  })

// The server would write a response to the socket, which is a WebSocket's from here on.
const takeSocket = (request: HttpServerRequest, socket: Socket): void => {
  const response = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
  response.detachSocket(socket)
  response.end()
}
