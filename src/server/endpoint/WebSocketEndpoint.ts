/**
 * Where browsers enter: WebSocket connections at a vhost's path.
 *
 * A connection is one session, its messages are handled in order. What a browser sends is bounded by `maxMessageSize`,
 * what waits for it by `outboxSize`: a browser that does not read is disconnected (1013, come back later). An unknown
 * vhost answers 404, a request that is not a WebSocket 426. At the end of the broker browsers get 1001, going away.
 *
 * @since 0.1.0
 */

import * as NodeWS from "@effect/platform-node/NodeWS"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Http from "node:http"
import { checkPort, ListenError } from "../../transport/TransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import * as BrokerMetrics from "../BrokerMetrics.ts"
import { type Vhost, Vhosts } from "../engine/Vhosts.ts"
import * as WebSocket from "./internal/webSocket.ts"

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
  const { host, maxMessageSize, outboxSize, pingInterval, websocketPort: port } = yield* BrokerConfig
  const vhosts = yield* Vhosts
  const open = new Set<WebSocket.Connection>()
  const context = yield* Effect.context<never>()
  const run = Effect.runForkWith(context)
  const options: WebSocket.Options = {
    outboxSize,
    onSlow: () => BrokerMetrics.slowBrowsers.updateUnsafe(1, context),
    onEnd: (connection) => open.delete(connection),
    run
  }
  const watch = yield* makeWatch((vhost) => {
    for (const connection of open) if (connection.vhost === vhost) connection.leaveUnsafe(1001)
  })
  // closeTimeout, how long to wait for a browser's answer to a close, is not in the types of ws.
  const handshakes = { noServer: true, clientTracking: false, maxPayload: maxMessageSize, closeTimeout: 1000 }
  const websockets = new NodeWS.WebSocketServer(handshakes)

  // What is no WebSocket is answered, and so is a vhost that is not there.
  const enter = (request: Http.IncomingMessage, answer: Answer, head: Buffer) =>
    Effect.match(vhosts.get(pathOf(request.url ?? "")), {
      onFailure: () => answer(404, "Not found\n"),
      onSuccess: (vhost) => {
        if (request.headers.upgrade?.toLowerCase() !== "websocket") return answer(426, "This is a WebSocket endpoint\n")
        const { socket } = request
        websockets.handleUpgrade(request, socket, head, (ws) => {
          watch(vhost)
          open.add(WebSocket.make(vhost, ws, socket, options))
        })
      }
    })

  const http = yield* listen(host, port, () => open.forEach(({ leaveUnsafe }) => leaveUnsafe(1001)))
  http.on("request", (request, response) => run(enter(request, answerBy(() => response), noBytes)))
  http.on("upgrade", (request, _, head) => run(enter(request, answerBy(() => responseTo(request)), head)))
  yield* Effect.sync(() => open.forEach(({ pingUnsafe }) => pingUnsafe())).pipe(
    Effect.repeat(Schedule.spaced(pingInterval)),
    Effect.forkScoped
  )
  return { port: portOf(http, port) }
})

/**
 * The endpoint as a layer, on the configured `websocketPort`.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<WebSocketEndpoint, ListenError, BrokerConfig | Vhosts> = Layer.effect(
  WebSocketEndpoint,
  make
)

// A server that is bound until the scope ends, which waits for the end of all connections.
const listen = Effect.fnUntraced(function*(host: string, port: number, onClosing: () => void) {
  yield* checkPort("browsers", host, port)
  const http = Http.createServer({
    headersTimeout: 5000,
    requestTimeout: 5000,
    connectionsCheckingInterval: 1000,
    // A browser that has gone without a word is noticed by the system.
    keepAlive: true,
    keepAliveInitialDelay: 30_000
  })
  const bind = Effect.callback<void, ListenError>((resume) => {
    const failed = (cause: Error) => resume(Effect.fail(new ListenError({ endpoint: "browsers", host, port, cause })))
    http.once("error", failed)
    http.listen({ host, port }, () => {
      http.off("error", failed)
      resume(Effect.void)
    })
  })
  const close = Effect.callback<void>((resume) => {
    http.close(() => resume(Effect.void))
    // Those that are no WebSocket (yet) would be waited for as well.
    http.closeAllConnections()
    onClosing()
  })
  yield* Effect.acquireRelease(bind, () => close)
  return http
})

const portOf = (http: Http.Server, port: number): number => {
  const address = http.address()
  return typeof address === "object" && address !== null ? address.port : port
}

// Hears of the removal of every vhost that it is told of, once. One fiber for each vhost, and none for its browsers.
const makeWatch = Effect.fnUntraced(function*(onRemoved: (vhost: Vhost) => void) {
  const scope = yield* Effect.scope
  const watched = new Set<Vhost>()
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return (vhost: Vhost): void => {
    if (watched.has(vhost)) return
    watched.add(vhost)
    const removed = Effect.map(vhost.removed, () => {
      watched.delete(vhost)
      onRemoved(vhost)
    })
    run(Effect.forkIn(removed, scope))
  }
})

/** Answers a request that does not become a connection. */
type Answer = (status: number, text: string) => void

const answerBy = (response: () => Http.ServerResponse): Answer => (status, text) => {
  response()
    .writeHead(status, { "content-type": "text/plain", ...status === 426 && { upgrade: "websocket" } })
    .end(text)
}

// Node.js leaves the answer to a request that asks for an upgrade to whoever hears of it.
const responseTo = (request: Http.IncomingMessage): Http.ServerResponse => {
  const { socket } = request
  socket.on("error", constVoid)
  const response = new Http.ServerResponse(request)
  response.assignSocket(socket)
  response.on("finish", () => socket.end())
  return response
}

const noBytes = Buffer.alloc(0)

const pathOf = (url: string): string => url.split("?", 1)[0]!
