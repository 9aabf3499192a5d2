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
import { constVoid } from "effect/Function"
import * as Frame from "../protocol/Frame.ts"
import * as Batch from "./internal/batch.ts"
import * as Outbox from "./internal/outbox.ts"
import * as Turns from "./internal/turns.ts"
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

  // What is answered while the messages that came together are handled goes together when they are; what is sent at
  // another time goes with all of that turn of the event loop.
  const outboxes = new Map<string, Outbox.Outbox>()
  let isHandling = false
  const flushUnsafe = () => {
    for (const outbox of outboxes.values()) outbox.flushUnsafe()
    outboxes.clear()
  }
  const outboxOf = (name: string, address: Uint8Array): Outbox.Outbox => {
    const known = outboxes.get(name)
    if (known !== undefined) return known
    if (outboxes.size === 0 && !isHandling) setImmediate(flushUnsafe)
    const outbox = Outbox.make({
      maxMessageSize: options.maxMessageSize,
      send: (batch, settled) => socket.sendUnsafe([address, batch], settled),
      schedule: constVoid
    })
    outboxes.set(name, outbox)
    return outbox
  }
  // Others may send meanwhile, and nobody knows how long it takes.
  const pause = (rest: Effect.Effect<void>): Effect.Effect<void> => {
    isHandling = false
    if (outboxes.size > 0) setImmediate(flushUnsafe)
    return Effect.andThen(
      rest,
      Effect.sync(() => {
        isHandling = true
      })
    )
  }

  // The last words leave before the socket does.
  yield* Effect.addFinalizer(() => Effect.sync(flushUnsafe))

  const batchPeer = (name: string, address: Uint8Array, envelope: string): Peer => ({
    identity: name,
    connection: name,
    message: envelope,
    seesClose: false,
    sendUnsafe: (frames, settled) => outboxOf(name, address).sendUnsafe(envelope, frames, settled && sent(settled)),
    close: Effect.void
  })
  const plainPeer = (name: string, address: Zmq.RawFrames): Peer => ({
    identity: name,
    connection: name,
    seesClose: false,
    sendUnsafe: (frames, settled) => socket.sendUnsafe([...address, "", ...frames], settled && sent(settled)),
    close: Effect.void
  })

  const handlePlain = (raw: Zmq.RawFrames, handlers: Handlers): Effect.Effect<void> | undefined => {
    const name = text(raw[0]!)
    // Whatever is too much is not even looked at, and its envelope not echoed: it would wait for a peer that does not read.
    const delimiter = raw.length > frameLimit ? -1 : raw.findIndex((frame, index) => index > 0 && frame.length === 0)
    const envelope = raw.slice(1, delimiter)
    const readable = delimiter !== -1 && delimiter <= envelopeLimit && sizeOf(envelope) <= 2 * Frame.envelopeSize &&
      sizeOf(raw) <= options.maxMessageSize
    if (!readable) return handlers.onMessage(plainPeer(name, raw.slice(0, 1)), undefined)
    const readsBatches = envelope.length > 0 && envelope.length < 3 && text(envelope.at(-1)!) === Batch.marker
    const peer = readsBatches
      ? batchPeer(name, raw[0]!, envelope.length === 2 ? text(envelope[0]!) : "")
      : plainPeer(name, raw.slice(0, delimiter))
    return handlers.onMessage(peer, raw.slice(delimiter + 1).map(text))
  }

  const itemsOf = (batch: Uint8Array): ReadonlyArray<Batch.Item> | undefined =>
    batch.length <= options.maxMessageSize ? Batch.decode(text(batch)) : undefined

  // What nobody can read is one message that was not understood.
  const unreadable = [{ envelope: "", frames: undefined }]
  const turns = Turns.make()
  const handleAll = Effect.fnUntraced(function*(messages: ReadonlyArray<Zmq.RawFrames>, handlers: Handlers) {
    isHandling = true
    for (const raw of messages) {
      if (raw.length !== 2 || !Batch.isBatch(raw[1]!)) {
        const rest = handlePlain(raw, handlers) ?? turns()
        if (rest !== undefined) yield* pause(rest)
        continue
      }
      const name = text(raw[0]!)
      for (const { envelope, frames } of itemsOf(raw[1]!) ?? unreadable) {
        const rest = handlers.onMessage(batchPeer(name, raw[0]!, envelope), frames) ?? turns()
        if (rest !== undefined) yield* pause(rest)
      }
    }
    isHandling = false
    flushUnsafe()
  })

  return {
    port: socket.port,
    run: (handlers) =>
      Effect.flatMap(socket.pull, (messages) => handleAll(messages, handlers)).pipe(
        (handle) => Effect.forever(handle, { disableYield: true }),
        // Only the end of the scope closes the socket.
        Effect.ignore
      )
  }
})

const sent = (settled: (delivered: boolean) => void): Zmq.Settled => (error) => settled(error === undefined)

const sizeOf = (frames: Zmq.RawFrames): number => frames.reduce((total, frame) => total + frame.length, 0)

const text = (frame: Uint8Array): string => decoder.decode(frame)

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
