/**
 * The client's side of a TCP connection, with TLS in it or without, which ends well: the broker can read everything that was
 * written.
 *
 * A connection that is closed with unread input is reset, and so is one to which the broker still writes; then the broker loses
 * what it has not read yet. So the input is discarded at the end, until the broker has ended its side too.
 */

import * as NodeSocket from "@effect/platform-node/NodeSocket"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Socket from "effect/socket/Socket"
import * as Net from "node:net"

/** How long the broker has to read the last messages and to end the connection, in milliseconds. */
const lingerTime = 1000

/** Where a connection goes. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly openTimeout: Duration.Duration
}

/** Opens a connection without TLS with its first use. It ends with its scope. */
export const make = ({ host, openTimeout, port }: Address): Effect.Effect<Socket.Socket> =>
  makeWith({
    connect: () => Net.connect({ host, port, noDelay: true }),
    openEvent: "connect",
    onOpen: Effect.succeed,
    onError: (_, cause) => failed(cause),
    openTimeout
  })

/** Opens a connection in another way; `openEvent` tells when it is open, and `onOpen` whether it may be used. */
export const makeWith = <S extends Net.Socket>({ connect, onError, onOpen, openEvent, openTimeout }: {
  readonly connect: () => S
  readonly openEvent: "connect" | "secureConnect"
  readonly onOpen: (socket: S) => Effect.Effect<S, Socket.SocketError>
  readonly onError: (socket: S, cause: Error) => Effect.Effect<never, Socket.SocketError>
  readonly openTimeout: Duration.Duration
}): Effect.Effect<Socket.Socket> =>
  NodeSocket.fromDuplex(
    Effect.gen(function*() {
      const socket = connect()
      let isOpen = false
      yield* Effect.addFinalizer(() => Effect.sync(() => isOpen ? endUnsafe(socket) : void socket.destroy()))
      const opened = yield* Effect.callback<S, Socket.SocketError>((resume) => {
        socket.once(openEvent, () => resume(onOpen(socket)))
        socket.on("error", (cause) => resume(onError(socket, cause)))
      })
      isOpen = true
      return opened
    }),
    { openTimeout }
  )

/** The failure to open a connection. */
export const failed = (cause: Error): Effect.Effect<never, Socket.SocketError> =>
  Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))

const endUnsafe = (socket: Net.Socket): void => {
  if (socket.destroyed) return
  const linger = setTimeout(() => socket.destroy(), lingerTime)
  socket.once("close", () => clearTimeout(linger)).resume().end()
}
