/**
 * Where browsers enter: WebSocket connections at a vhost's path.
 *
 * A connection is one session, its messages are handled in order. What a browser sends is bounded by `maxMessageSize`,
 * what waits for it by `outboxSize`: a browser that does not read is disconnected (1013, come back later). An unknown
 * vhost answers 404, a request that is not a WebSocket 426. At the end of the broker browsers get 1001, going away.
 *
 * @since 0.1.0
 */

import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { checkPort, ListenError } from "../../transport/TransportServer.ts"
import { BrokerConfig } from "../BrokerConfig.ts"
import * as BrokerMetrics from "../BrokerMetrics.ts"
import type { Page } from "../domain/Page.ts"
import { type Vhost, Vhosts } from "../engine/Vhosts.ts"
import * as WebSocketFrame from "./internal/webSocketFrame.ts"
import * as PageSession from "./PageSession.ts"

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
  yield* checkPort("browsers", host, port)
  const vhosts = yield* Vhosts
  const open = new Set<Socket>()
  const context = yield* Effect.context<never>()
  const countSlow = () => BrokerMetrics.slowBrowsers.updateUnsafe(1, context)

  // The server's own scope ends after that of `serve`: it waits for connections that only `serve` closes.
  const http = Http.createServer({
    headersTimeout: 5000,
    requestTimeout: 5000,
    connectionsCheckingInterval: 1000,
    // A browser that has gone without a word is noticed by the system.
    keepAlive: true,
    keepAliveInitialDelay: 30_000
  })
  const serverScope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => {
    // Those that are no WebSocket (yet) would be waited for as well.
    http.close()
    http.closeAllConnections()
    return Scope.close(scope, exit)
  })
  // closeTimeout, how long to wait for a browser's answer to a close, is not in the types of ws.
  const websocket = { maxPayload: maxMessageSize, closeTimeout: 1000 }
  const server = yield* NodeHttpServer.make(
    () => http,
    {
      host,
      port,
      disablePreemptiveShutdown: true,
      websocket
    }
  ).pipe(
    Scope.provide(serverScope),
    Effect.mapError(({ cause }) => new ListenError({ endpoint: "browsers", host, port, cause }))
  )

  const converse = Effect.fnUntraced(function*(vhost: Vhost, request: HttpServerRequest.HttpServerRequest) {
    const { pull } = yield* Effect.flatMap(request.upgrade, (socket) => socket.reader)
    const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
    yield* Effect.acquireRelease(
      Effect.sync(() => open.add(socket)),
      () => Effect.sync(() => open.delete(socket))
    )
    const { closed, isClosing, ...outbox } = makeOutbox(socket, outboxSize, countSlow)
    const page: Page = { sid: SecureRandom.uuidV4Unsafe(), ...outbox }
    const session = yield* Effect.acquireRelease(Effect.sync(() => PageSession.make(vhost, page)), ({ end }) => end)
    const listen = Effect.gen(function*() {
      for (let handled = 1;;) {
        for (const message of yield* pull) {
          // One that is being closed may still read for a moment, but not speak.
          if (isClosing()) return yield* Effect.never
          if (!(yield* session.handle(message))) return
          // However much one page says at once, the others have their turn.
          if (handled++ % 64 === 0) yield* nextTurn
        }
      }
    })
    yield* Effect.raceFirst(listen, closed)
  })

  const app = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const vhost = yield* vhosts.get(pathOf(request.url))
    if (request.headers.upgrade?.toLowerCase() !== "websocket") {
      return HttpServerResponse.text("This is a WebSocket endpoint\n", {
        status: 426,
        headers: { upgrade: "websocket" }
      })
    }
    // A request's handler is uninterruptible by default, but this one lasts as long as its browser.
    yield* Effect.interruptible(Effect.raceFirst(Effect.scoped(converse(vhost, request)), vhost.removed)).pipe(
      Effect.ignore
    )
    return HttpServerResponse.empty()
  }).pipe(
    Effect.catchTag("VhostNotFoundError", () => Effect.succeed(HttpServerResponse.text("Not found\n", { status: 404 })))
  )

  // A span as long as a browser's connection tells nobody anything.
  yield* Effect.provideService(server.serve(app), HttpMiddleware.TracerDisabledWhen, constTrue)
  yield* Effect.sync(() => open.forEach(ping)).pipe(
    Effect.repeat(Schedule.spaced(pingInterval)),
    Effect.forkScoped
  )
  return { port: server.address._tag === "UnixPathAddress" ? port : server.address.port }
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

// Straight to the connection: the frame is ready, and the ws package would copy it for every subscriber.
const makeOutbox = (socket: Socket, outboxSize: number, onSlow: () => void) => {
  const closing = Deferred.makeUnsafe<void>()
  const closeUnsafe = (code: number): void => {
    if (socket.writable) socket.end(WebSocketFrame.close(code))
    Deferred.doneUnsafe(closing, Effect.void)
  }
  return {
    sendUnsafe: (message: string): void => {
      if (!socket.writable) return
      if (socket.writableLength <= outboxSize) {
        socket.write(WebSocketFrame.text(message))
      } else {
        onSlow()
        closeUnsafe(1013)
      }
    },
    closeUnsafe,
    isClosing: () => Deferred.isDoneUnsafe(closing),
    // It gets what waited and the reason if it reads now, and is cut off if it does not.
    closed: Deferred.await(closing).pipe(
      Effect.andThen(Effect.timeoutOption(finished(socket), "1 second")),
      Effect.andThen(Effect.sync(() => socket.destroy()))
    )
  }
}

const finished = (socket: Socket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.writableFinished) return resume(Effect.void)
    socket.once("finish", () => resume(Effect.void))
  })

const nextTurn: Effect.Effect<void> = Effect.callback((resume) => {
  setImmediate(() => resume(Effect.void))
})

const ping = (socket: Socket): void => {
  if (socket.writable) socket.write(WebSocketFrame.ping)
}

const pathOf = (url: string): string => url.split("?", 1)[0]!
