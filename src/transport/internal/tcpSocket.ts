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

/** A connection, which its reader opens and its scope ends. */
export interface TcpSocket extends Pick<Socket.Socket, "reader"> {
  /**
   * Begins to write at once, without a fiber, when the connection is open. `settled` is called once: when more may be written,
   * or with the error.
   */
  readonly writeUnsafe: (bytes: Uint8Array, settled: (error?: Error) => void) => void
}

/** A connection without TLS. */
export const make = ({ host, openTimeout, port }: Address): Effect.Effect<TcpSocket> =>
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
}): Effect.Effect<TcpSocket> =>
  Effect.suspend(() => {
    let opened: S | undefined
    const open = Effect.gen(function*() {
      const socket = connect()
      yield* Effect.addFinalizer(() => Effect.sync(() => opened ? endUnsafe(opened) : void socket.destroy()))
      opened = yield* Effect.callback<S, Socket.SocketError>((resume) => {
        socket.once(openEvent, () => resume(onOpen(socket)))
        socket.on("error", (cause) => resume(onError(socket, cause)))
      })
      return opened
    })
    return Effect.map(NodeSocket.fromDuplex(open, { openTimeout }), ({ reader }): TcpSocket => ({
      reader,
      writeUnsafe: (bytes, settled) => {
        const isAccepted: boolean = opened!.write(bytes, (error) => {
          if (!isAccepted) settled(error ?? undefined)
        })
        if (isAccepted) settled()
      }
    }))
  })

/** The failure to open a connection. */
export const failed = (cause: Error): Effect.Effect<never, Socket.SocketError> =>
  Effect.fail(new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) }))

const endUnsafe = (socket: Net.Socket): void => {
  if (socket.destroyed) return
  const linger = setTimeout(() => socket.destroy(), lingerTime)
  socket.once("close", () => clearTimeout(linger)).resume().end()
}
