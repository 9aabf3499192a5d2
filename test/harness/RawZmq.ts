/**
 * Bare sockets of zeromq.js, as Effects. Nothing of the library is in them: what works here works for every foreign peer.
 */
import { type Cause, Effect, Queue } from "effect"
import * as Zmq from "zeromq"

/** A message as text, frame by frame. */
export type Frames = ReadonlyArray<string>

/** A plain REQ socket: what it is asked, it sends; what comes back, it gives. */
export const req = Effect.fnUntraced(function*(port: number, identity: string) {
  const socket = yield* open(() => new Zmq.Request({ routingId: identity, linger: 0, receiveTimeout: 4000 }), port)
  return (...frames: Frames): Effect.Effect<Frames> =>
    Effect.promise(() => socket.send([...frames]).then(() => socket.receive())).pipe(Effect.map(textOf))
})

export interface Dealer {
  /** Sends frames as they are; a DEALER writes the empty delimiter itself. */
  readonly send: (...frames: ReadonlyArray<string | Uint8Array>) => Effect.Effect<void>
  /** The next message, delimiter and all. */
  readonly next: Effect.Effect<Frames, Cause.Done>
}

/** A DEALER socket. It reads all the time, as zeromq.js wants it. */
export const dealer = Effect.fnUntraced(function*(port: number, identity: string | undefined) {
  const inbox = yield* Queue.unbounded<Frames, Cause.Done>()
  const socket = yield* open(
    () => new Zmq.Dealer({ ...(identity !== undefined && { routingId: identity }), linger: 0 }),
    port
  )
  const receive = (): Promise<void> =>
    socket.receive().then((frames) => {
      Queue.offerUnsafe(inbox, textOf(frames))
      return receive()
    }, () => void Queue.endUnsafe(inbox))
  void receive()
  const self: Dealer = {
    send: (...frames) => Effect.promise(() => socket.send(frames.map((frame) => frame))),
    next: Queue.take(inbox)
  }
  return self
})

// One connection and no reconnecting, so that a lost one is seen.
const open = <Socket extends Zmq.Dealer | Zmq.Request>(make: () => Socket, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = make()
      socket.connect(`tcp://127.0.0.1:${port}`)
      return socket
    }),
    (socket) => Effect.sync(() => socket.close())
  )

const textOf = (frames: ReadonlyArray<Uint8Array>): Frames => frames.map((frame) => Buffer.from(frame).toString())
