/**
 * The client's side of a TCP connection, with TLS in it or without, which ends well: the broker can read everything that was
 * written.
 *
 * A connection that is closed with unread input is reset, and so is one to which the broker still writes; then the broker loses
 * what it has not read yet. So the input is discarded at the end, until the broker has ended its side too.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { ConnectionError } from "../../protocol/KosmonautError.ts"

/** How long the broker has to read the last messages and to end the connection, in milliseconds. */
const lingerTime = 1000

/** Where a connection goes. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly openTimeout: Duration.Duration
  /** The error with which it could not be opened. */
  readonly refused: (cause: Error) => ConnectionError
}

/** Opens a connection without TLS, which its scope ends. */
export const open = ({ host, port, ...options }: Address): Effect.Effect<Net.Socket, ConnectionError, Scope.Scope> =>
  openWith({
    ...options,
    connect: () => Net.connect({ host, port, noDelay: true }),
    openEvent: "connect",
    check: () => undefined,
    explain: (_, cause) => cause
  })

/** Opens a connection in another way; `openEvent` tells when it is open, and `check` why it may not be used. */
export const openWith = Effect.fnUntraced(function*<S extends Net.Socket>({ openTimeout, refused, ...options }: {
  readonly connect: () => S
  readonly openEvent: "connect" | "secureConnect"
  readonly check: (socket: S) => Error | undefined
  readonly explain: (socket: S, cause: Error) => Error
  readonly openTimeout: Duration.Duration
  readonly refused: (cause: Error) => ConnectionError
}): Effect.fn.Return<S, ConnectionError, Scope.Scope> {
  let isOpen = false
  const socket = yield* Effect.acquireRelease(
    Effect.sync(options.connect),
    (socket) => Effect.sync(() => isOpen ? endUnsafe(socket) : void socket.destroy())
  )
  yield* Effect.callback<void, ConnectionError>((resume) => {
    socket.once(options.openEvent, () => {
      const error = options.check(socket)
      resume(error === undefined ? Effect.void : Effect.fail(refused(error)))
    })
    socket.on("error", (cause) => resume(Effect.fail(refused(options.explain(socket, cause)))))
  }).pipe(Effect.timeoutOrElse({
    duration: openTimeout,
    orElse: () => Effect.fail(refused(new Error("Connection timed out")))
  }))
  isOpen = true
  return socket
})

/** Begins to write a text at once, as UTF-8. `settled` is called once: when more may be written, or with the error. */
export const writeUnsafe = (socket: Net.Socket, text: string, settled: (error?: Error) => void): void => {
  if (!socket.writable) return settled(new Error("The connection has ended"))
  // Without a callback of its own a write that is accepted needs nothing more.
  if (socket.write(text)) return settled()
  const end = (error?: Error) => {
    socket.off("drain", onDrain).off("close", onClose)
    settled(error)
  }
  const onDrain = () => end()
  const onClose = () => end(socket.errored ?? new Error("The connection has ended"))
  socket.on("drain", onDrain).on("close", onClose)
}

const endUnsafe = (socket: Net.Socket): void => {
  if (socket.destroyed) return
  const linger = setTimeout(() => socket.destroy(), lingerTime)
  socket.once("close", () => clearTimeout(linger)).resume().end()
}
