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
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionError, type MessageEncodeError, RequestTimeoutError } from "../protocol/KosmonautError.ts"
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
      pull: Effect.map(socket.pull, Arr.map((raw) => afterDelimiter(raw).frames)).pipe(Effect.mapError(closed))
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

interface Pending {
  readonly resume: (answer: Effect.Effect<Frame.Frames, ConnectionError | RequestTimeoutError>) => void
  readonly command: string
  readonly deadline: number
}

const makeRequester = Effect.fnUntraced(function*(options: {
  readonly endpoint: Endpoint
  readonly requestTimeout: Duration.Duration
  readonly check: (frames: Frame.Frames) => Effect.Effect<Frame.Frames, MessageEncodeError>
  readonly dial: Effect.Effect<Zmq.ZmqSocket, ConnectionError, Scope.Scope>
}): Effect.fn.Return<Requester, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const services = yield* Effect.context()
  const clock = yield* Clock.Clock
  const timeout = Duration.toMillis(options.requestTimeout)
  // In order of their deadlines, since every request has the same time.
  const pending = new Map<string, Pending>()
  let socket: Zmq.ZmqSocket | undefined
  let dialing: Deferred.Deferred<Zmq.ZmqSocket, ConnectionError> | undefined
  let connection = yield* Scope.fork(scope)
  let lastHeard = 0
  let lastId = 0
  let sweeping = false

  const settle = (id: string, answer: Effect.Effect<Frame.Frames, ConnectionError | RequestTimeoutError>) => {
    const request = pending.get(id)
    if (request === undefined) return
    pending.delete(id)
    request.resume(answer)
  }

  const lost = (reason: ConnectionError["reason"], cause?: unknown) => {
    socket = undefined
    const error = Effect.fail(new ConnectionError({ address: options.endpoint.address, reason, cause }))
    const inFlight = [...pending.keys()]
    for (const id of inFlight) settle(id, error)
  }

  // One fiber watches all deadlines, and only while there are any.
  const sweep = Effect.gen(function*() {
    for (;;) {
      const now = clock.currentTimeMillisUnsafe()
      for (const [id, { command, deadline }] of pending) {
        if (deadline > now) break
        const timedOut = Effect.fail(new RequestTimeoutError({ command, after: options.requestTimeout }))
        if (lastHeard >= deadline - timeout) settle(id, timedOut)
        else yield* hangUp(id, timedOut)
      }
      const next = pending.values().next()
      if (next.done === true) break
      yield* Effect.sleep(Math.max(next.value.deadline - clock.currentTimeMillisUnsafe(), 1))
    }
    sweeping = false
  })

  // Not a word since a request was sent: whoever is there, this connection is of no use any more.
  const hangUp = (id: string, timedOut: Effect.Effect<never, RequestTimeoutError>) =>
    Effect.suspend(() => {
      const request = pending.get(id)
      pending.delete(id)
      lost("Silent")
      request?.resume(timedOut)
      return Effect.forkIn(Scope.close(connection, Exit.void), scope)
    })

  const dial = Effect.gen(function*() {
    connection = yield* Scope.fork(scope)
    const own = connection
    const opened = yield* Scope.provide(options.dial, own).pipe(
      Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
    )
    socket = opened
    yield* opened.pull.pipe(
      Effect.map((batch) => {
        lastHeard = clock.currentTimeMillisUnsafe()
        for (const raw of batch) {
          const { envelope, frames } = afterDelimiter(raw)
          settle(envelope, Effect.succeed(frames))
        }
      }),
      Effect.forever,
      Effect.catch((cause) => Effect.sync(() => socket === opened ? lost("Closed", cause) : undefined)),
      Effect.ensuring(Scope.close(own, Exit.void)),
      Effect.forkIn(scope)
    )
    return opened
  })

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

  const ask = (opened: Zmq.ZmqSocket, frames: Frame.Frames) =>
    Effect.callback<Frame.Frames, ConnectionError | RequestTimeoutError>((resume) => {
      const id = (++lastId).toString(36)
      const deadline = clock.currentTimeMillisUnsafe() + timeout
      pending.set(id, { resume, command: frames[0]!, deadline })
      opened.sendUnsafe([id, "", ...frames], (cause) => {
        if (cause === undefined) return
        const error = new ConnectionError({ address: options.endpoint.address, reason: "Closed", cause })
        settle(id, Effect.fail(error))
      })
      if (!sweeping) {
        sweeping = true
        Fiber.runIn(Effect.runForkWith(services)(sweep), scope)
      }
      return Effect.sync(() => pending.delete(id))
    })

  yield* Effect.addFinalizer(() => Effect.sync(() => lost("Closed", new Error("the client was closed"))))
  return {
    request: (frames) =>
      Effect.flatMap(
        options.check(frames),
        () => socket === undefined ? Effect.flatMap(connect, (opened) => ask(opened, frames)) : ask(socket, frames)
      )
  }
})

// What stands before the empty delimiter is the envelope: our one correlation frame, or nothing.
const afterDelimiter = (raw: Zmq.RawFrames): { readonly envelope: string; readonly frames: Frame.Frames } => {
  const delimiter = raw.findIndex((frame) => frame.length === 0)
  return { envelope: delimiter > 0 ? String(raw[0]) : "", frames: raw.slice(delimiter + 1).map(String) }
}
