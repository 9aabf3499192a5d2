/**
 * A bare TCP connection, as an Effect: any bytes go out, what comes in waits in line, cut into the messages of classic
 * TCP. Nothing of the library is in it.
 */
import { Cause, Deferred, Effect, Queue, type Scope } from "effect"
import * as Net from "node:net"

export interface RawTcp {
  /** Sends bytes, or text as UTF-8, and waits until the system has them. */
  readonly send: (bytes: string | Uint8Array) => Effect.Effect<void>
  /** The next message of classic TCP, its end included. Fails when the connection ends first. */
  readonly next: Effect.Effect<string, Cause.Done>
  /** Everything that comes until the connection ends, from what `next` has not given. */
  readonly rest: Effect.Effect<string>
  /** How the connection ended, once it has: `undefined`, or the system's code. */
  readonly ended: Effect.Effect<string | undefined>
  /** Whether the connection has ended. */
  readonly hasEnded: Effect.Effect<boolean>
  /** The socket itself, to stop reading, to half-close or to reset. */
  readonly socket: Net.Socket
}

const endOfMessage = "\n\r\n\r\n"

/** Connects to a port of this machine. At the end of its scope the connection is cut. */
export const connect = Effect.fnUntraced(function*(port: number) {
  const inbox = yield* Queue.unbounded<string, Cause.Done>()
  const ended = yield* Deferred.make<string | undefined>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ host: "127.0.0.1", port, noDelay: true }, () => resume(Effect.succeed(socket)))
      socket.on("error", (cause) => resume(Effect.die(cause)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  let text = ""
  let code: string | undefined
  socket.setEncoding("utf8")
  socket.on("data", (chunk: string) => {
    text += chunk
    for (let end = text.indexOf(endOfMessage); end !== -1; end = text.indexOf(endOfMessage)) {
      Queue.offerUnsafe(inbox, text.slice(0, end + endOfMessage.length))
      text = text.slice(end + endOfMessage.length)
    }
  })
  socket.on("error", (cause: NodeJS.ErrnoException) => {
    code = cause.code
  })
  socket.on("close", () => {
    Queue.endUnsafe(inbox)
    Deferred.doneUnsafe(ended, Effect.succeed(code))
  })
  const connection: RawTcp = {
    socket,
    send: (bytes) => Effect.callback<void>((resume) => void socket.write(bytes, () => resume(Effect.void))),
    next: Queue.take(inbox),
    rest: Effect.andThen(
      Deferred.await(ended),
      Effect.map(Queue.collect(inbox), (messages) => messages.join("") + text)
    ),
    ended: Deferred.await(ended),
    hasEnded: Deferred.isDone(ended)
  }
  return connection
})

/** A connection that sends these bytes, and then neither reads nor ends its side. */
export const halfOpen = (port: number, bytes: string): Effect.Effect<Net.Socket, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => {
        socket.write(bytes, () => resume(Effect.succeed(socket)))
      })
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** The bytes of a message of classic TCP. */
export const message = (...frames: ReadonlyArray<string>): string =>
  `${frames.map((frame) => `${frame}\n`).join("")}\r\n\r\n`
