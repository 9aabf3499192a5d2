/**
 * The broker's side of ZeroMQ: one ROUTER socket for all backends.
 *
 * A message is `[identity] [envelope…] [] [command] [arguments…]`; the answer goes back with the same envelope, which is
 * how a pipelining client gets its correlation id and a plain `REQ` socket needs none. There are no connections to see:
 * a peer that has gone is noticed when something is sent to it. (Source: ZeroMQ RFC 28; WebRocket's draft.)
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Frame from "../protocol/Frame.ts"
import * as Zmq from "./internal/zmqSocket.ts"
import { checkPort, type Handlers, type Listen, ListenError, type Peer } from "./TransportServer.ts"

/** How many messages may wait for one peer that does not read; beyond it they are not delivered. */
const outboxLimit = 10_000

/** How many frames a message may have, and how many of them may stand before the delimiter. */
const frameLimit = 64
const envelopeLimit = 8

const endpoint = "backends over ZeroMQ"

/**
 * Binds a ROUTER socket.
 *
 * @since 0.1.0
 */
export const listen: Listen = Effect.fnUntraced(function*(options) {
  yield* checkPort(endpoint, options.host, options.port)
  const socket = yield* Zmq.router({ ...options, outboxLimit }).pipe(
    Effect.mapError((cause) => new ListenError({ ...options, endpoint, cause }))
  )

  const handle = (raw: Zmq.RawFrames, handlers: Handlers) => {
    const name = text(raw[0]!)
    // Whatever is too much is not even looked at, and its envelope not echoed: it would wait for a peer that does not read.
    const delimiter = raw.length > frameLimit ? -1 : raw.findIndex((frame, index) => index > 0 && frame.length === 0)
    const envelope = raw.slice(0, delimiter)
    const readable = delimiter !== -1 && delimiter <= envelopeLimit && sizeOf(envelope) <= 2 * Frame.envelopeSize &&
      sizeOf(raw) <= options.maxMessageSize
    const address = readable ? envelope : raw.slice(0, 1)
    const peer: Peer = {
      identity: name,
      connection: name,
      seesClose: false,
      sendUnsafe: (frames, settled) =>
        socket.sendUnsafe([...address, "", ...frames], settled && ((error) => settled(error === undefined))),
      close: Effect.void
    }
    return handlers.onMessage(peer, readable ? raw.slice(delimiter + 1).map(text) : undefined)
  }

  return {
    port: socket.port,
    run: (handlers) =>
      socket.pull.pipe(
        Effect.flatMap((messages) => Effect.forEach(messages, (raw) => handle(raw, handlers), { discard: true })),
        Effect.forever,
        // Only the end of the scope closes the socket.
        Effect.ignore
      )
  }
})

const sizeOf = (frames: Zmq.RawFrames): number => frames.reduce((total, frame) => total + frame.length, 0)

const text = (frame: Uint8Array): string => decoder.decode(frame)

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
