/**
 * The HTTP server for browsers. Requests and its shutdown have a deadline, whatever peers do.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Socket } from "node:net"
import { checkPort, ListenError } from "../../../../transport/TransportServer.ts"

/** The options of a server. */
export interface Options {
  readonly host: string
  readonly port: number
  /** How many connections there may be, upgraded ones included. Beyond it new ones are closed at once. */
  readonly maxConnections: number
  /** Called when a new connection was closed at once, or could not be accepted. */
  readonly onDrop: () => void
  /** How long the shutdown may take. */
  readonly closeTimeout: Duration.Duration
  /** Closes upgraded connections, which the server does not track. */
  readonly close: Effect.Effect<void>
  /** Destroys those that have not ended in time. */
  readonly destroy: () => void
}

/** Binds a server until the scope ends, which waits for the end of all connections. */
export const listen = Effect.fnUntraced(function*(
  { host, maxConnections, onDrop, port, ...options }: Options
): Effect.fn.Return<Http.Server, ListenError, Scope.Scope> {
  yield* checkPort("browsers", host, port)
  const http = Http.createServer({
    headersTimeout: 5000,
    requestTimeout: 5000,
    connectionsCheckingInterval: 1000,
    keepAlive: true,
    keepAliveInitialDelay: 30_000
  })
  if (Number.isFinite(maxConnections)) http.maxConnections = maxConnections
  http.on("drop", onDrop)
  const bind = Effect.callback<void, ListenError>((resume) => {
    const failed = (cause: Error) => resume(Effect.fail(new ListenError({ endpoint: "browsers", host, port, cause })))
    http.once("error", failed)
    http.listen({ host, port }, () => {
      http.off("error", failed)
      // Later errors are failed accepts.
      http.on("error", onDrop)
      resume(Effect.void)
    })
  })
  const closed = Effect.callback<void>((resume) => {
    http.close(() => resume(Effect.void))
    // Otherwise `close` would also wait for connections that are not (yet) WebSockets.
    http.closeAllConnections()
  })
  const close = Effect.all([closed, options.close], { concurrency: "unbounded", discard: true })
  yield* Effect.acquireRelease(bind, () =>
    Effect.andThen(
      Effect.timeoutOption(Effect.interruptible(close), options.closeTimeout),
      Effect.sync(options.destroy)
    ))
  return http
})

/** The port that a server is bound to. */
export const portOf = (http: Http.Server): number => {
  const address = http.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

/** Answers a request with a status and a sentence. The connection is closed, so that a peer that does not read cannot hold it. */
export const respond = (response: Http.ServerResponse, status: number, sentence: string): void => {
  response.writeHead(status, headersOf(status)).end(`${sentence}\n`)
}

/** Answers an upgrade request, for which Node.js has no response object. */
export const respondTo = (socket: Socket, status: number, sentence: string): void => {
  const headers = { ...headersOf(status), "content-length": sentence.length + 1 }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}\r\n${lines.join("")}\r\n${sentence}\n`)
}

const headersOf = (status: number) => ({
  "content-type": "text/plain",
  connection: "close",
  ...status === 426 && { upgrade: "websocket" },
  ...(status === 429 || status === 503) && { "retry-after": "5" }
})
