/**
 * Bare sockets of zeromq.js, as Effects. Nothing of the library is in them: what works here works for every foreign peer.
 */
import { type Cause, Deferred, Effect, Queue } from "effect"
import * as Zmq from "zeromq"

/** A message as text, frame by frame. */
export type Frames = ReadonlyArray<string>

/** A plain REQ socket: what it is asked, it sends; what comes back, it gives. */
export const req = Effect.fnUntraced(function*(port: number, identity: string) {
  const socket = yield* open(() => new Zmq.Request({ routingId: identity, linger: 0, receiveTimeout: 4000 }), port)
  return (...frames: Frames): Effect.Effect<Frames> =>
    Effect.promise(() => socket.send([...frames]).then(() => socket.receive())).pipe(Effect.map(textOf))
})

export interface Dealer<A> {
  /** Sends frames as they are; a DEALER writes the empty delimiter itself. */
  readonly send: (...frames: ReadonlyArray<string | Uint8Array>) => Effect.Effect<void>
  /** The next message, delimiter and all. */
  readonly next: Effect.Effect<ReadonlyArray<A>, Cause.Done>
  /** Waits until the other end has ended the connection. */
  readonly disconnected: Effect.Effect<void>
}

/** A DEALER socket whose messages are bytes. It reads all the time, as zeromq.js wants it. */
export const bytesDealer = Effect.fnUntraced(function*(port: number, identity: string | undefined) {
  const inbox = yield* Queue.unbounded<ReadonlyArray<Buffer>, Cause.Done>()
  const disconnected = yield* Deferred.make<void>()
  const socket = yield* open(
    () => new Zmq.Dealer({ ...(identity !== undefined && { routingId: identity }), linger: 0 }),
    port
  )
  socket.events.on("disconnect", () => Deferred.doneUnsafe(disconnected, Effect.void))
  const receive = (): Promise<void> =>
    socket.receive().then((frames) => {
      Queue.offerUnsafe(inbox, frames)
      return receive()
    })
  // It may also be closed between two messages.
  void receive().catch(() => void Queue.endUnsafe(inbox))
  const self: Dealer<Buffer> = {
    send: (...frames) => Effect.promise(() => socket.send([...frames])),
    next: Queue.take(inbox),
    disconnected: Deferred.await(disconnected)
  }
  return self
})

/** A DEALER socket that never reads. */
export const deafDealer = (port: number, identity: string) =>
  Effect.map(
    open(() => new Zmq.Dealer({ routingId: identity, linger: 0, receiveHighWaterMark: 1 }), port),
    (socket) => ({ send: (...frames: Frames) => Effect.promise(() => socket.send([...frames])) })
  )

/** A DEALER socket whose messages are text. */
export const dealer = (port: number, identity: string | undefined) =>
  Effect.map(
    bytesDealer(port, identity),
    (self): Dealer<string> => ({ ...self, next: Effect.map(self.next, textOf) })
  )

const open = <Socket extends Zmq.Dealer | Zmq.Request>(make: () => Socket, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = make()
      socket.connect(`tcp://127.0.0.1:${port}`)
      return socket
    }),
    (socket) => Effect.sync(() => socket.close())
  )

const textOf = (frames: ReadonlyArray<Buffer>): Frames => frames.map((frame) => frame.toString())
