/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each under a correlation frame that the
 * broker echoes. When the connection is lost, everything in flight fails with `ConnectionError`, and the next request
 * connects again with a fresh identity.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
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
  const dialing = yield* Semaphore.make(1)
  // In order of their deadlines, since every request has the same time.
  const pending = new Map<string, Pending>()
  let socket: Zmq.ZmqSocket | undefined
  let lastId = 0
  let sweeping = false

  const settle = (id: string, answer: Effect.Effect<Frame.Frames, ConnectionError | RequestTimeoutError>) => {
    const request = pending.get(id)
    if (request === undefined) return
    pending.delete(id)
    request.resume(answer)
  }

  const lost = (cause: unknown) => {
    socket = undefined
    const error = new ConnectionError({ address: options.endpoint.address, reason: "Closed", cause })
    for (const id of [...pending.keys()]) settle(id, Effect.fail(error))
  }

  // One fiber watches all deadlines, and only while there are any.
  const sweep = Effect.gen(function*() {
    for (;;) {
      for (const [id, { command, deadline }] of pending) {
        if (deadline > clock.currentTimeMillisUnsafe()) break
        settle(id, Effect.fail(new RequestTimeoutError({ command, after: options.requestTimeout })))
      }
      const next = pending.values().next()
      if (next.done === true) break
      yield* Effect.sleep(Math.max(next.value.deadline - clock.currentTimeMillisUnsafe(), 1))
    }
    sweeping = false
  })

  const connect = Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
    if (socket !== undefined) return socket
    const connection = yield* Scope.fork(scope)
    const opened = yield* restore(Scope.provide(options.dial, connection)).pipe(
      Effect.onError((cause) => Scope.close(connection, Exit.failCause(cause)))
    )
    socket = opened
    yield* opened.pull.pipe(
      Effect.map(Arr.forEach((raw) => {
        const { envelope, frames } = afterDelimiter(raw)
        settle(envelope, Effect.succeed(frames))
      })),
      Effect.forever,
      Effect.catch((cause) => Effect.sync(() => lost(cause))),
      Effect.ensuring(Scope.close(connection, Exit.void)),
      Effect.forkIn(scope)
    )
    return opened
  })).pipe(dialing.withPermits(1))

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

  yield* Effect.addFinalizer(() => Effect.sync(() => lost(new Error("the client was closed"))))
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
