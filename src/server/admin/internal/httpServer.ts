/**
 * The HTTP server of administrators. A connection is a stranger's until a request on it has shown the cookie. If there are as
 * many connections as there may be, or no file descriptor is left, the stranger that is there for longest makes room.
 *
 * Headers, requests and idle connections have deadlines, and its end cuts what is left.
 */

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Socket } from "node:net"
import * as Strangers from "../../../transport/Strangers.ts"
import { checkPort, ListenError } from "../../../transport/TransportServer.ts"

const endpoint = "administrators"

/** How many connections there may be. */
const maxConnections = 256

/** How many bytes the headers of a request may have together. */
const maxHeaderSize = 8192

/** How many milliseconds a request may take to arrive. */
const requestTimeout = 10_000

/** A bound server. */
export interface Server {
  readonly http: Http.Server
  readonly port: number
  /** A request on this connection has shown the cookie. */
  readonly trustUnsafe: (socket: Socket) => void
}

/** Binds a server until the scope ends. */
export const listen = Effect.fnUntraced(function*(
  { host, idleTimeout, port }: {
    readonly host: string
    readonly port: number
    /** For how many milliseconds a connection may transfer nothing. */
    readonly idleTimeout: number
  }
): Effect.fn.Return<Server, ListenError, Scope.Scope> {
  yield* checkPort(endpoint, host, port)
  const http = Http.createServer({
    maxHeaderSize,
    headersTimeout: 5000,
    requestTimeout,
    connectionsCheckingInterval: 1000
  })
  // A connection that is closed gets no answer; that of `clientError` would be one for a peer that sent no HTTP.
  http.timeout = idleTimeout
  const trustUnsafe = makeRoom(http)
  yield* Effect.acquireRelease(
    Effect.callback<void, ListenError>((resume) => {
      const failed = (cause: Error) => resume(Effect.fail(new ListenError({ endpoint, host, port, cause })))
      http.once("error", failed)
      http.listen({ host, port }, () => {
        http.off("error", failed)
        // Later errors are failed accepts.
        http.on("error", Strangers.makeRoom)
        resume(Effect.void)
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        http.close(() => resume(Effect.void))
        http.closeAllConnections()
      })
  )
  const address = http.address()
  return { http, port: typeof address === "object" && address !== null ? address.port : 0, trustUnsafe }
})

const makeRoom = (http: Http.Server): (socket: Socket) => void => {
  const all = new Set<Socket>()
  // Those that have not shown the cookie, the oldest first.
  const strangers = new Set<Socket>()
  const trust = (socket: Socket): void => {
    strangers.delete(socket)
    Strangers.remove(socket)
  }
  const drop = (socket: Socket): void => {
    trust(socket)
    socket.destroy()
  }
  http.on("connection", (socket: Socket) => {
    const [oldest] = strangers
    all.add(socket)
    strangers.add(socket)
    Strangers.add(socket, () => drop(socket))
    socket.on("close", () => {
      all.delete(socket)
      trust(socket)
    })
    if (all.size > maxConnections) drop(oldest ?? socket)
    else Strangers.makeRoom()
  })
  return trust
}
