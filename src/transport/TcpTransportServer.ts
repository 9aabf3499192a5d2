/**
 * The broker's side of classic TCP, as the original's clients speak it.
 *
 * The first message of a connection begins with the identity and an empty frame; later ones may leave both out. A
 * connection that has sent no complete message within `handshakeTimeout` is closed, and nothing more is sent to one for
 * which more than `outboxLimit` bytes wait. An answer without arguments carries one empty frame: the original go client
 * insists on it.
 *
 * Our own Clients say first that they would keep the connection, which the original takes for a bad request: an identity
 * and the frame `K1`. They are answered `K1`, and from then on every message begins with a frame that its answer echoes.
 *
 * @since 0.1.0
 */

import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Socket from "effect/socket/Socket"
import type { Socket as NetSocket } from "node:net"
import * as Frame from "../protocol/Frame.ts"
import * as FrameParser from "../protocol/FrameParser.ts"
import * as Batch from "./internal/batch.ts"
import * as Turns from "./internal/turns.ts"
import { checkPort, type Handlers, type Listen, ListenError, type Peer } from "./TransportServer.ts"

/** How many bytes may wait for one peer that does not read. */
const outboxLimit = 4 * 1_048_576

/** How long a connection that is closed has to take what was sent. */
const lingerTimeout = "1 second"

/** How long a connection may take to say something whole. */
const handshakeTimeout = "5 seconds"

/** A message that is to be sent, and who hears whether it was. */
interface Sending {
  readonly frames: Frame.Frames
  readonly settled: ((delivered: boolean) => void) | undefined
}

/** How many messages, or characters, do not wait for more: the other side already reads these while the next are written. */
const enough = 32
const enoughUnits = 65_536

const endpoint = "backends over TCP"

/**
 * Binds a TCP server.
 *
 * @since 0.1.0
 */
export const listen: Listen = Effect.fnUntraced(function*(options) {
  yield* checkPort(endpoint, options.host, options.port)
  const server = yield* NodeSocketServer.make({
    host: options.host,
    port: options.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000
  }).pipe(
    Effect.mapError((error) => new ListenError({ ...options, endpoint, cause: error.reason.cause }))
  )
  return {
    port: server.address._tag === "UnixPathAddress" ? 0 : server.address.port,
    run: (handlers) => Effect.ignore(server.run((socket) => serve(socket, handlers, options.maxMessageSize)))
  }
})

// One connection, from accept to close.
const serve = Effect.fnUntraced(function*(socket: Socket.Socket, handlers: Handlers, maxMessageSize: number) {
  const { pull } = yield* socket.reader
  // The server provides it to every handler, which its type does not say.
  const net = Context.getUnsafe(yield* Effect.context<never>(), NodeSocket.NetSocket)
  const parser = FrameParser.make(maxMessageSize)
  const closed = yield* Deferred.make<void>()
  let peer: Peer | undefined
  let keeps = false
  yield* Effect.addFinalizer(() => hangUp(net))

  // What is sent in one step of the event loop leaves together, unless it is much.
  let waiting: Array<Sending> = []
  let units = 0
  const flushUnsafe = () => {
    if (waiting.length === 0) return
    const sendings = waiting
    waiting = []
    units = 0
    net.write(Frame.encodeAll(sendings.map(({ frames }) => frames)), (error) => {
      for (const { settled } of sendings) settled?.(error == null)
    })
  }
  const send = (frames: Frame.Frames, settled?: (delivered: boolean) => void) => {
    if (!net.writable || net.writableLength > outboxLimit) return settled?.(false)
    for (const frame of frames) units += frame.length
    const length = waiting.push({ frames, settled })
    if (length === 1) process.nextTick(flushUnsafe)
    if (length === enough || units > enoughUnits) flushUnsafe()
  }
  // What was sent leaves before the connection does.
  yield* Effect.addFinalizer(() => Effect.sync(flushUnsafe))

  const identified = (identity: string): Peer => ({
    identity,
    connection: net,
    seesClose: true,
    sendUnsafe: (frames, settled) => send(frames.length === 1 ? [frames[0]!, ""] : frames, settled),
    close: Effect.asVoid(Deferred.succeed(closed, undefined))
  })
  // Of a connection that is kept: every message has its envelope, which is echoed.
  const withEnvelope = ({ identity }: Peer, envelope: string): Peer => ({
    identity,
    connection: net,
    message: envelope,
    seesClose: true,
    sendUnsafe: (frames, settled) => send([envelope, ...frames], settled),
    close: Effect.void
  })

  const handle = (frames: Frame.Frames): Effect.Effect<void> | undefined => {
    if (Deferred.isDoneUnsafe(closed)) return undefined
    if (peer !== undefined && keeps) return handlers.onMessage(withEnvelope(peer, frames[0]!), frames.slice(1))
    if (peer === undefined && frames.length === 2 && frames[1] === Batch.marker) {
      peer = identified(frames[0]!)
      keeps = true
      return Effect.sync(() => send([Batch.marker]))
    }
    const hasEnvelope = frames.length > 2 && frames[1] === ""
    peer ??= identified(hasEnvelope ? frames[0]! : "")
    return handlers.onMessage(peer, hasEnvelope ? frames.slice(2) : peer.identity === "" ? undefined : frames)
  }

  const turns = Turns.make()
  const next = Effect.gen(function*() {
    for (const chunk of yield* pull) {
      const messages = parser.push(typeof chunk === "string" ? encoder.encode(chunk) : chunk)
      if (Result.isFailure(messages)) {
        return yield* handlers.onMessage(peer ??= identified(""), undefined) ?? Effect.void
      }
      for (const frames of messages.success) {
        const rest = handle(frames) ?? turns()
        if (rest !== undefined) yield* rest
      }
    }
  })

  const greeting = Effect.gen(function*() {
    while (peer === undefined) yield* next
  })
  yield* Effect.timeout(greeting, handshakeTimeout).pipe(
    Effect.andThen(Effect.forever(next, { disableYield: true })),
    Effect.raceFirst(Deferred.await(closed)),
    Effect.ensuring(Effect.suspend(() => peer === undefined ? Effect.void : handlers.onClose(peer))),
    Effect.ignore
  )
}, Effect.scoped)

// What was sent leaves first, if the peer reads it; if it does not, it has had its time.
const hangUp = (net: NetSocket): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    net.once("close", () => resume(Effect.void))
    if (net.closed) return resume(Effect.void)
    net.destroySoon()
  }).pipe(
    Effect.timeoutOption(lingerTimeout),
    Effect.andThen(Effect.sync(() => net.destroy()))
  )

const encoder = new TextEncoder()
