/**
 * The HTTP server that browsers come in by. Requests have a deadline, and so has its end, whatever peers do. If there are
 * as many connections as there may be, or no file descriptor is left, the one that has waited longest without a request
 * makes room for the next, so that those who send none cannot lock others out. A handshake of TLS is not a request.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Socket } from "node:net"
import * as Strangers from "../../../../transport/Strangers.ts"
import type { Decrypt } from "../../../../transport/TlsServer.ts"
import { checkPort, ListenError } from "../../../../transport/TransportServer.ts"
import type { Answer } from "./answer.ts"

/** How many milliseconds a peer may leave an answer unread. */
const readTimeout = 5000

/** How many milliseconds the head of a request may take to arrive, a handshake of TLS included. */
const requestTimeout = 5000

/** The options of a server. */
export interface Options {
  readonly host: string
  readonly port: number
  /** Makes the decrypted side of a connection; without it nothing is encrypted. */
  readonly decrypt: Decrypt | undefined
  /** How many connections there may be, upgraded ones included. */
  readonly maxConnections: number
  /** How many upgraded ones there are, of which the server knows nothing. */
  readonly upgraded: () => number
  /** Called when a connection was closed to make room, or one could not be accepted. */
  readonly onDrop: () => void
  /** How long the shutdown may take. */
  readonly closeTimeout: Duration.Duration
  /** Ends upgraded connections. */
  readonly close: Effect.Effect<void>
  /** Destroys those that have not ended in time. */
  readonly destroy: () => void
}

/** Binds a server until the scope ends, which waits for the end of all connections. */
export const listen = Effect.fnUntraced(function*(
  { host, onDrop, port, ...options }: Options
): Effect.fn.Return<Http.Server, ListenError, Scope.Scope> {
  yield* checkPort("browsers", host, port)
  const http = Http.createServer({
    headersTimeout: requestTimeout,
    requestTimeout,
    connectionsCheckingInterval: 1000,
    keepAlive: true,
    keepAliveInitialDelay: 30_000
  })
  const pending = makeRoom(http, onDrop, options)
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
    for (const socket of pending.keys()) socket.destroy()
  })
  const close = Effect.all([closed, options.close], { concurrency: "unbounded", discard: true })
  yield* Effect.acquireRelease(bind, () =>
    Effect.andThen(
      Effect.timeoutOption(Effect.interruptible(close), options.closeTimeout),
      Effect.sync(options.destroy)
    ))
  return http
})

/** Calls `listener` with each connection, and again with what is decrypted of it, which is another one for Node.js. */
const onConnection = (
  http: Http.Server,
  decrypt: Decrypt | undefined,
  listener: (socket: Socket, encrypted?: Socket) => void
): void => {
  if (decrypt === undefined) return void http.on("connection", (socket: Socket) => listener(socket))
  // Node.js serves whatever stream its own ones are given.
  const listeners = http.listeners("connection")
  http.removeAllListeners("connection")
  http.on("connection", (encrypted: Socket) => {
    listener(encrypted)
    decrypt(encrypted, (socket) => {
      listener(socket, encrypted)
      for (const each of listeners) each.call(http, socket)
    })
  })
}

// The others are counted by those who have them: a listener for each would take memory. Returns those without a request, the
// oldest first.
const makeRoom = (
  http: Http.Server,
  onDrop: () => void,
  { decrypt, maxConnections, upgraded }: Pick<Options, "decrypt" | "maxConnections" | "upgraded">
): ReadonlyMap<Socket, unknown> => {
  // With TLS each has a deadline from its beginning: Node.js knows of a connection only once its handshake begins.
  const pending = new Map<Socket, ReturnType<typeof setTimeout> | undefined>()
  const remove = (socket: Socket): void => {
    clearTimeout(pending.get(socket))
    pending.delete(socket)
    Strangers.remove(socket)
  }
  const onClose = function(this: Socket) {
    remove(this)
  }
  const release = (socket: Socket): void => {
    socket.off("close", onClose)
    remove(socket)
  }
  const drop = (socket: Socket): void => {
    remove(socket)
    socket.destroy()
    onDrop()
  }
  const add = (socket: Socket, deadline: ReturnType<typeof setTimeout> | undefined): void => {
    pending.set(socket.on("close", onClose), deadline)
    Strangers.add(socket, () => drop(socket))
  }
  http.on("request", ({ socket }: Http.IncomingMessage) => release(socket))
  http.on("upgrade", ({ socket }: Http.IncomingMessage) => release(socket))
  onConnection(http, decrypt, (socket, encrypted) => {
    if (encrypted !== undefined) {
      add(socket, pending.get(encrypted))
      pending.delete(encrypted)
      return release(encrypted)
    }
    add(socket, decrypt && setTimeout(() => socket.destroy(), requestTimeout))
    const [oldest = socket] = pending.keys()
    if (pending.size + upgraded() > maxConnections) drop(oldest)
    else Strangers.makeRoom()
  })
  return pending
}

/** The port that a server is bound to. */
export const portOf = (http: Http.Server): number => {
  const address = http.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

/** Answers a request. */
export const respond = (request: Http.IncomingMessage, response: Http.ServerResponse, answer: Answer): void => {
  const { body, headers, status } = answer
  const length = status === 304 ? undefined : { "content-length": Buffer.byteLength(body) }
  response.writeHead(status, { ...headers, ...length }).end(request.method === "HEAD" ? undefined : body)
  // The system takes a short answer at once. A longer one must be read in time.
  response.setTimeout(readTimeout, () => response.destroy())
}

/** Answers an upgrade request, for which Node.js has no response object. */
export const respondTo = (socket: Socket, { body, headers, status }: Answer): void => {
  const lines = Object.entries({ ...headers, "content-length": Buffer.byteLength(body) }).map(([name, value]) =>
    `${name}: ${value}\r\n`
  )
  socket.end(`HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`)
}
