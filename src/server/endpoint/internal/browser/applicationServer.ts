/**
 * The HTTP server of an application, as far as the application leaves gaps: until its routes are served, requests are answered
 * 503, and when the server ends, connections without a request do not keep it open.
 *
 * Effect's `HttpServer` does not expose the server of Node.js, so it is found by its address when a connection comes in.
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as EffectHttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Diagnostics from "node:diagnostics_channel"
import type * as Http from "node:http"
import type { Server, Socket } from "node:net"
import * as Tls from "node:tls"
import { sentence } from "./answer.ts"
import * as Closing from "./closing.ts"
import * as HttpServer from "./httpServer.ts"

/** The server of an application. */
export class ApplicationServer extends Context.Service<ApplicationServer, {
  /** Waits until the server stops listening. By then connections without a request are destroyed. */
  readonly stopped: Effect.Effect<void>
}>()("kosmonaut/server/endpoint/ApplicationServer") {}

/** How soon it is noticed that a server does not listen any more: Node.js has no event for that. */
const noticed = Duration.millis(200)

const make = Effect.gen(function*() {
  const { address } = yield* EffectHttpServer.HttpServer
  const closing = Closing.make()
  const pending = makePending()
  let server: Http.Server | undefined

  yield* find(address, (found, socket) => {
    server = found
    const isServed = found.listenerCount("request") > 0
    pending.watch(found, socket)
    if (!isServed) refuseUntilServed(found, closing)
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closing.destroyAll()
      // The application's requests had the time that its server gives them.
      if (server?.listening === false) closable(server)?.closeAllConnections?.()
      else if (server !== undefined) destroyOnceStopped(server, pending.destroyAll)
    })
  )
  const hasStopped = Effect.delay(Effect.sync(() => server?.listening === false), noticed)
  const stopped = Effect.repeat(hasStopped, { until: (hasStopped) => hasStopped }).pipe(
    // `close` of Node.js waits for connections without a request, and does not apply its timeouts to them any more.
    Effect.andThen(Effect.sync(pending.destroyAll))
  )
  const fiber = yield* Effect.forkScoped(stopped)
  // It also waits for connections whose request ended after its call.
  const closeIdle = Effect.delay(Effect.sync(() => closable(server)?.closeIdleConnections?.()), noticed)
  yield* Effect.forkScoped(Effect.andThen(Fiber.join(fiber), Effect.forever(closeIdle)))
  return { stopped: Fiber.join(fiber) }
})

/** How long after the broker its server may end, in milliseconds. */
const patience = 60_000

// If an application fails to start, its server ends after the broker, and would wait for these connections for ever.
const destroyOnceStopped = (server: Http.Server, destroyPending: () => void): void => {
  const timer = setInterval(() => {
    if (server.listening) return
    clearInterval(timer)
    destroyPending()
  }, Duration.toMillis(noticed)).unref()
  setTimeout(() => clearInterval(timer), patience).unref()
}

// A server of HTTP/2 has neither method.
const closable = (
  server: Http.Server | undefined
): Partial<Pick<Http.Server, "closeAllConnections" | "closeIdleConnections">> | undefined => server

/**
 * Watches the server in the context, once it was built. Build it before all that takes time: requests that come earlier are
 * not answered.
 */
export const layer: Layer.Layer<ApplicationServer, never, EffectHttpServer.HttpServer> = Layer.effect(
  ApplicationServer,
  make
)

type OnFound = (server: Http.Server, socket: Socket) => void

// Calls `onFound` once, with the server at this address and the connection by which it was found.
const find = (address: NetAddress.SocketAddress, onFound: OnFound): Effect.Effect<void, never, Scope.Scope> => {
  const check = (server: Http.Server | undefined, socket: Socket): void => {
    if (server === undefined || !isAt(server, address)) return
    unsubscribe()
    onFound(server, socket)
  }
  const onSocket = (message: unknown) => {
    const { socket } = message as { readonly socket: Socket & { readonly server?: Http.Server } }
    check(socket.server, socket)
  }
  // The connection of a request may be older than the subscription.
  const onRequest = (message: unknown) => {
    const { server, socket } = message as { readonly server: Http.Server; readonly socket: Socket }
    check(server, socket)
  }
  const subscribe = () => {
    Diagnostics.subscribe("net.server.socket", onSocket)
    Diagnostics.subscribe("http.server.request.start", onRequest)
  }
  const unsubscribe = () => {
    Diagnostics.unsubscribe("net.server.socket", onSocket)
    Diagnostics.unsubscribe("http.server.request.start", onRequest)
  }
  return Effect.acquireRelease(Effect.sync(subscribe), () => Effect.sync(unsubscribe))
}

const isAt = (server: Server, expected: NetAddress.SocketAddress): boolean => {
  const address = server.address()
  if (address === null) return false
  if (typeof address === "string") return NetAddress.isUnixPathAddress(expected) && address === expected.path
  const actual = Result.getOrUndefined(NetAddress.inetAddressFromIpString(address.address, address.port))
  return Equal.equals(actual, expected)
}

// The connections that have not sent a request.
const makePending = () => {
  const sockets = new Set<Socket>()
  const onClose = function(this: Socket) {
    sockets.delete(this)
  }
  const add = (socket: Socket) => void sockets.add(socket.on("close", onClose))
  const onRequest = ({ socket }: Http.IncomingMessage) => {
    if (sockets.delete(socket)) socket.off("close", onClose)
  }
  return {
    watch: (server: Http.Server, socket: Socket): void => {
      const isSecure = server instanceof Tls.Server
      // Requests are on the socket of TLS, which this one carries.
      if (!isSecure) add(socket)
      server.on(isSecure ? "secureConnection" : "connection", add)
      server.on("request", onRequest)
      server.on("upgrade", onRequest)
    },
    destroyAll: (): void => sockets.forEach((socket) => socket.destroy())
  }
}

// Node.js does not answer a request for which there is no listener, and the application adds one when all its layers are built.
const refuseUntilServed = (server: Http.Server, closing: Closing.Closing): void => {
  const refuse = (request: Http.IncomingMessage, response: Http.ServerResponse) =>
    HttpServer.respond(request, response, notReady)
  const refuseUpgrade = ({ socket }: Http.IncomingMessage) => {
    HttpServer.respondTo(socket, notReady)
    closing.add(socket)
  }
  const onListener = (event: string) => {
    if (event !== "request") return
    server.off("newListener", onListener)
    server.off("request", refuse)
    server.off("upgrade", refuseUpgrade)
  }
  server.on("request", refuse)
  server.on("upgrade", refuseUpgrade)
  server.on("newListener", onListener)
}

const notReady = sentence(503, "The application is starting.")
