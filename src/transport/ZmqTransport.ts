/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each under a correlation frame that the
 * broker echoes. When the connection is lost, or has been silent for the whole time of a request, everything in flight
 * fails with `ConnectionError`, and the next request connects again with a fresh identity.
 *
 * @since 0.1.0
 */

import * as Arr from "effect/Array"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionError, type MessageEncodeError } from "../protocol/KosmonautError.ts"
import * as PendingRequests from "./internal/pendingRequests.ts"
import * as Zmq from "./internal/zmqSocket.ts"
import { type Options, type Requester, type Session, Transport } from "./Transport.ts"

/**
 * Makes the transport. It opens nothing by itself.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const bound = { maxMessageSize: maxMessageSize - Frame.envelopeSize, lines: false }
  const check = (frames: Frame.Frames) => Effect.fromResult(Frame.check(frames, bound))

  const dial = Effect.fnUntraced(function*(kind: Identity.Kind, endpoint: Endpoint) {
    const routingId = Identity.encode(Identity.make(kind, endpoint, SecureRandom.uuidV4Unsafe()))
    return yield* Zmq.dealer({ address: endpoint.address, routingId, maxMessageSize, openTimeout }).pipe(
      Effect.mapError((cause) => new ConnectionError({ address: endpoint.address, reason: "Refused", cause }))
    )
  })

  const session = Effect.fnUntraced(function*(endpoint: Endpoint): Effect.fn.Return<
    Session,
    ConnectionError,
    Scope.Scope
  > {
    const socket = yield* dial("dlr", endpoint)
    const closed = (cause: Zmq.ZmqError) => new ConnectionError({ address: endpoint.address, reason: "Closed", cause })
    return {
      send: (frames) =>
        Effect.callback((resume) =>
          socket.sendUnsafe(["", ...frames], (error) => resume(error ? Effect.fail(closed(error)) : Effect.void))
        ),
      pull: Effect.map(socket.pull, Arr.map((raw) => splitEnvelope(raw).frames)).pipe(Effect.mapError(closed))
    }
  })

  return Transport.of({
    schemes: ["wr"],
    session,
    requester: (endpoint, { requestTimeout }) =>
      makeRequester({ endpoint, requestTimeout, check, dial: dial("req", endpoint) })
  })
}

/**
 * ZeroMQ as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Transport> => Layer.sync(Transport, () => make(options))

const makeRequester = Effect.fnUntraced(function*(options: {
  readonly endpoint: Endpoint
  readonly requestTimeout: Duration.Duration
  readonly check: (frames: Frame.Frames) => Effect.Effect<Frame.Frames, MessageEncodeError>
  readonly dial: Effect.Effect<Zmq.ZmqSocket, ConnectionError, Scope.Scope>
}): Effect.fn.Return<Requester, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const failure = (reason: ConnectionError["reason"], cause?: unknown) =>
    new ConnectionError({ address: options.endpoint.address, reason, cause })
  let current: { readonly socket: Zmq.ZmqSocket; readonly scope: Scope.Closeable } | undefined
  let dialing: Deferred.Deferred<Zmq.ZmqSocket, ConnectionError> | undefined

  const pending = yield* PendingRequests.make({
    timeout: options.requestTimeout,
    // Whoever is there, the connection is of no use any more.
    onSilence: Effect.suspend(() => {
      const silent = current
      lost(failure("Silent"))
      return silent === undefined ? Effect.void : Effect.forkIn(Scope.close(silent.scope, Exit.void), scope)
    })
  })
  const lost = (error: ConnectionError) => {
    current = undefined
    pending.failUnsafe(error)
  }

  const dial = Effect.gen(function*() {
    const own = yield* Scope.fork(scope)
    const socket = yield* Scope.provide(options.dial, own).pipe(
      Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
    )
    current = { socket, scope: own }
    yield* Effect.map(socket.pull, receive).pipe(
      Effect.forever,
      Effect.catch((cause) =>
        Effect.sync(() => current?.socket === socket ? lost(failure("Closed", cause)) : undefined)
      ),
      Effect.ensuring(Scope.close(own, Exit.void)),
      Effect.forkIn(scope)
    )
    return socket
  })
  const receive = (batch: ReadonlyArray<Zmq.RawFrames>) => {
    pending.heardUnsafe()
    for (const raw of batch) {
      const { envelope, frames } = splitEnvelope(raw)
      pending.settleUnsafe(envelope, Effect.succeed(frames))
    }
  }

  // Whoever comes while one is connecting shares its outcome, and may leave without harm to the others.
  const connect = Effect.suspend(() => {
    if (dialing !== undefined) return Deferred.await(dialing)
    const outcome = Deferred.makeUnsafe<Zmq.ZmqSocket, ConnectionError>()
    dialing = outcome
    return Effect.exit(dial).pipe(
      Effect.map((exit) => {
        dialing = undefined
        Deferred.doneUnsafe(outcome, exit)
      }),
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(outcome))
    )
  })

  const ask = (socket: Zmq.ZmqSocket, frames: Frame.Frames) =>
    pending.await(frames[0]!, (id) =>
      socket.sendUnsafe([id, "", ...frames], (cause) => {
        if (cause !== undefined) pending.settleUnsafe(id, Effect.fail(failure("Closed", cause)))
      }))

  const ended = failure("Closed", new Error("the client was closed"))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      lost(ended)
      // Whoever waits for a connection that will not be, and whoever still comes.
      dialing ??= Deferred.makeUnsafe()
      Deferred.doneUnsafe(dialing, Effect.fail(ended))
    })
  )
  return {
    request: (frames) =>
      Effect.flatMap(
        options.check(frames),
        () =>
          current === undefined ? Effect.flatMap(connect, (socket) => ask(socket, frames)) : ask(current.socket, frames)
      )
  }
})

// What stands before the empty delimiter is the envelope: our one correlation frame, or nothing.
const splitEnvelope = (raw: Zmq.RawFrames): { readonly envelope: string; readonly frames: Frame.Frames } => {
  const delimiter = raw.findIndex((frame) => frame.length === 0)
  return { envelope: delimiter > 0 ? String(raw[0]) : "", frames: raw.slice(delimiter + 1).map(String) }
}
