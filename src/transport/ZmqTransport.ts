/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each under a correlation frame that the
 * broker echoes. Those that are made at the same moment travel together, where the broker reads batches. When the connection is lost, or has been silent for the whole time of a request, everything in flight
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
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionError, type MessageEncodeError, type RequestTimeoutError } from "../protocol/KosmonautError.ts"
import * as Batch from "./internal/batch.ts"
import * as Outbox from "./internal/outbox.ts"
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
  const check = (frames: Frame.Frames) => Frame.check(frames, bound)

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
    const mailbox = makeMailbox(yield* dial("dlr", endpoint), maxMessageSize)
    const closed = (cause: Zmq.ZmqError) => new ConnectionError({ address: endpoint.address, reason: "Closed", cause })
    return {
      send: (frames) =>
        Effect.callback((resume) =>
          mailbox.sendUnsafe("", frames, (error) => resume(error ? Effect.fail(closed(error)) : Effect.void))
        ),
      pull: Effect.map(mailbox.pull, Arr.map(({ frames }) => frames)).pipe(Effect.mapError(closed))
    }
  })

  return Transport.of({
    schemes: ["wr"],
    session,
    requester: (endpoint, { requestTimeout }) =>
      makeRequester({
        endpoint,
        requestTimeout,
        check,
        dial: Effect.map(dial("req", endpoint), (socket) => makeMailbox(socket, maxMessageSize))
      })
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
  readonly check: (frames: Frame.Frames) => Result.Result<Frame.Frames, MessageEncodeError>
  readonly dial: Effect.Effect<Mailbox, ConnectionError, Scope.Scope>
}): Effect.fn.Return<Requester, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const failure = (reason: ConnectionError["reason"], cause?: unknown) =>
    new ConnectionError({ address: options.endpoint.address, reason, cause })
  let current: { readonly mailbox: Mailbox; readonly scope: Scope.Closeable } | undefined
  let dialing: Deferred.Deferred<Mailbox, ConnectionError> | undefined

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
    const mailbox = yield* Scope.provide(options.dial, own).pipe(
      Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
    )
    current = { mailbox, scope: own }
    yield* Effect.map(mailbox.pull, receive).pipe(
      Effect.forever,
      Effect.catch((cause) =>
        Effect.sync(() => current?.mailbox === mailbox ? lost(failure("Closed", cause)) : undefined)
      ),
      Effect.ensuring(Scope.close(own, Exit.void)),
      Effect.forkIn(scope)
    )
    return mailbox
  })
  const receive = (items: ReadonlyArray<Batch.Item>) => {
    pending.heardUnsafe()
    for (const { envelope, frames } of items) pending.settleUnsafe(envelope, Effect.succeed(frames))
  }

  // Whoever comes while one is connecting shares its outcome, and may leave without harm to the others.
  const connect = Effect.suspend(() => {
    if (dialing !== undefined) return Deferred.await(dialing)
    const outcome = Deferred.makeUnsafe<Mailbox, ConnectionError>()
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

  const ask = (mailbox: Mailbox, frames: Frame.Frames) =>
    pending.await(frames[0]!, (id) =>
      mailbox.sendUnsafe(id, frames, (cause) => {
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
      Effect.suspend((): Effect.Effect<Frame.Frames, MessageEncodeError | ConnectionError | RequestTimeoutError> => {
        const checked = options.check(frames)
        if (Result.isFailure(checked)) return Effect.fail(checked.failure)
        return current === undefined
          ? Effect.flatMap(connect, (mailbox) => ask(mailbox, frames))
          : ask(current.mailbox, frames)
      })
  }
})

/** A socket as items that come and go, many at a time once it is known that the broker reads batches. */
interface Mailbox {
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Batch.Item>, Zmq.ZmqError>
  readonly sendUnsafe: (envelope: string, frames: Frame.Frames, settled: Zmq.Settled) => void
}

const makeMailbox = (socket: Zmq.ZmqSocket, maxMessageSize: number): Mailbox => {
  let brokerReadsBatches = false
  const outbox = Outbox.make({
    maxMessageSize,
    send: (batch, settled) => socket.sendUnsafe([batch], settled),
    schedule: queueMicrotask
  })

  const itemsOf = (raw: Zmq.RawFrames): ReadonlyArray<Batch.Item> => {
    if (raw.length > 1 || !Batch.isBatch(raw[0]!)) return [plain(raw)]
    brokerReadsBatches = true
    return Batch.decode(String(raw[0])) ?? []
  }
  const pull: Mailbox["pull"] = Effect.flatMap(socket.pull, (raws) => {
    const items = raws.flatMap(itemsOf)
    return Arr.isArrayNonEmpty(items) ? Effect.succeed(items) : pull
  })
  return {
    pull,
    sendUnsafe: (envelope, frames, settled) => {
      if (brokerReadsBatches) outbox.sendUnsafe({ envelope, frames }, settled)
      else socket.sendUnsafe([...envelope === "" ? [] : [envelope], Batch.marker, "", ...frames], settled)
    }
  }
}

// What stands before the empty delimiter is the envelope: our one correlation frame, or nothing.
const plain = (raw: Zmq.RawFrames): Batch.Item => {
  const delimiter = raw.findIndex((frame) => frame.length === 0)
  return { envelope: delimiter > 0 ? String(raw[0]) : "", frames: raw.slice(delimiter + 1).map(String) }
}
