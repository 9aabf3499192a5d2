/**
 * The classic way to a broker: TCP as the original 0.3 broker speaks it (`wr+tcp://`).
 *
 * With our own broker a Client keeps one connection and has any number of requests in flight on it. With any other it makes
 * one for each request, which the broker closes after its answer, so that many requests in flight are many connections:
 * at most `maxConnections` at a time, further requests wait for a free one within their time. A Worker keeps one
 * connection. Frames cannot hold line breaks; such a message is refused before it is sent.
 *
 * @since 0.1.0
 */

import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as FrameParser from "../protocol/FrameParser.ts"
import * as Identity from "../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError,
  MalformedMessageError
} from "../protocol/KosmonautError.ts"
import * as Batch from "./internal/batch.ts"
import type { Mailbox } from "./internal/exchange.ts"
import * as Hints from "./internal/hints.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as Sender from "./internal/sender.ts"
import * as SingleRequests from "./internal/singleRequests.ts"
import { defaultLimits, type Options as TransportOptions, type Session, Transport } from "./Transport.ts"

/**
 * What this driver can be told.
 *
 * @since 0.1.0
 */
export interface Options extends TransportOptions {
  /** How many requests a Client has in flight with a broker that takes one for each connection, default 64; others wait. */
  readonly maxConnections?: number | undefined
}

/**
 * Makes the transport. It opens nothing by itself.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const maxConnections = options.maxConnections ?? 64
  const bound = { maxMessageSize: maxMessageSize - Frame.envelopeSize, lines: true }
  const dial = (endpoint: Endpoint) => open({ endpoint, openTimeout, maxMessageSize })

  return Transport.of({
    schemes: ["wr+tcp"],
    session: (endpoint) =>
      Effect.map(dial(endpoint), ({ pull, write }) => {
        // The identity stands before the first message and none after it.
        let envelope = envelopeOf("dlr", endpoint)
        return {
          send: (frames) =>
            Effect.suspend(() => {
              const message = [...envelope, ...frames]
              envelope = []
              return write(Frame.encode(message))
            }),
          pull
        }
      }),
    requester: Effect.fnUntraced(function*(endpoint, limits) {
      const single = SingleRequests.make({
        maxConnections,
        maxRequests: limits.maxQueuedRequests ?? defaultLimits.maxQueuedRequests,
        maxBytes: limits.maxQueuedBytes ?? defaultLimits.maxQueuedBytes,
        timeout: limits.requestTimeout,
        exchange: (frames) => exchangeOne(dial(endpoint), endpoint, frames)
      })

      let isOurs = false
      const pipeline = yield* Pipeline.make({
        ...limits,
        address: endpoint.address,
        bound,
        dial: Effect.flatMap(dial(endpoint), (connection) => converse(connection, endpoint, openTimeout)).pipe(
          Effect.mapError((error) => error._tag === "ConnectionError" ? unsent(error) : error),
          Effect.tap(() =>
            Effect.sync(() => {
              isOurs = true
            })
          )
        )
      })
      let isClassic = false
      const room = () => isClassic ? single.room : pipeline.room
      return {
        supportsExtensions: () => isOurs,
        direct: pipeline.direct,
        room: { isFull: () => room().isFull(), wait: (command) => room().wait(command) },
        request: (frames, sent) =>
          Effect.suspend(() =>
            isClassic
              ? Effect.andThen(Effect.fromResult(Frame.check(frames, bound)), single.request(frames))
              : Effect.catchTag(pipeline.request(frames, sent), "ClassicBroker", () => {
                isClassic = true
                isOurs = false
                return single.request(frames)
              })
          )
      }
    })
  })
}

/**
 * Classic TCP as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Transport> => Layer.sync(Transport, () => make(options))

const envelopeOf = (
  kind: Identity.Kind,
  endpoint: Endpoint,
  name: string = SecureRandom.uuidV4Unsafe()
): Frame.Frames => [Identity.encode(Identity.make(kind, endpoint, name)), ""]

interface Connection {
  readonly pull: Session["pull"]
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, ConnectionError>
}

/** The broker is the original or like it: it does not know how to keep a Client's connection. */
class ClassicBroker extends Schema.TaggedError<ClassicBroker>("kosmonaut/transport/TcpTransport/ClassicBroker")(
  "ClassicBroker",
  {}
) {}

// One request on a connection of its own, which the broker closes.
const exchangeOne = Effect.fnUntraced(
  function*(dial: Effect.Effect<Connection, ConnectionError, Scope.Scope>, endpoint: Endpoint, frames: Frame.Frames) {
    const { pull, write } = yield* dial
    const message = Frame.encode([...envelopeOf("req", endpoint), ...frames])
    yield* write(message)
    return Arr.headNonEmpty(
      yield* message.length < Hints.largeForTheOriginal
        ? pull
        : Effect.mapError(pull, Hints.maybeTooLarge(message.length))
    )
  },
  Effect.scoped
)

// Says that it would keep the connection. The original takes that for a bad request, and carries nothing out.
const converse = Effect.fnUntraced(function*(
  connection: Connection,
  endpoint: Endpoint,
  openTimeout: Duration.Duration
): Effect.fn.Return<Mailbox, ConnectionError | ClassicBroker, Scope.Scope> {
  const { pull, write } = connection
  const name = SecureRandom.uuidV4Unsafe()
  yield* write(Frame.encode([envelopeOf("req", endpoint, name)[0]!, Batch.marker]))
  const [answer] = yield* Effect.timeoutOrElse(pull, {
    duration: openTimeout,
    orElse: () =>
      Effect.fail(
        new ConnectionError({ reason: new ConnectionTimeoutError({ address: endpoint.address, cause: Hints.silent }) })
      )
  })
  if (answer[0] !== Batch.marker) return yield* new ClassicBroker()

  const scope = yield* Effect.scope
  const services = yield* Effect.context()
  return {
    name,
    pull: Effect.map(pull, Arr.map(([envelope = "", ...frames]) => ({ envelope, frames }))),
    readsBatches: () => true,
    enough: Sender.maxItems,
    sendUnsafe: (items, settled) => {
      const bytes = Frame.encodeAll(items.map(({ envelope, frames }) => [envelope, ...frames]))
      const written = Effect.map(
        Effect.exit(connection.write(bytes)),
        (exit) => settled(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined)
      )
      // It begins to write at once.
      Fiber.runIn(Effect.runForkWith(services)(written), scope)
    }
  }
})

// One TCP connection, as messages; it ends with its scope, after what was written has left.
const open = Effect.fnUntraced(function*(options: {
  readonly endpoint: Endpoint
  readonly openTimeout: Duration.Duration
  readonly maxMessageSize: number
}): Effect.fn.Return<Connection, ConnectionError, Scope.Scope> {
  const { address, host, port } = options.endpoint
  const error = (Reason: typeof ConnectionRefusedError | typeof ConnectionClosedError) => (cause: unknown) =>
    new ConnectionError({
      reason: new Reason({ address, cause: Socket.isSocketError(cause) ? systemError(cause) : cause })
    })
  const malformed = (cause: unknown) => new ConnectionError({ reason: new MalformedMessageError({ address, cause }) })
  const socket = yield* NodeSocket.makeNet({
    host: host.replace(/^\[|\]$/g, ""),
    port,
    noDelay: true,
    openTimeout: options.openTimeout
  })
  const writer = yield* socket.writer
  const reader = yield* Effect.mapError(socket.reader, error(ConnectionRefusedError))
  const parser = FrameParser.make(options.maxMessageSize)

  let isFirst = true
  const pull: Session["pull"] = Effect.gen(function*() {
    for (;;) {
      const messages: Array<Frame.Frames> = []
      for (const chunk of yield* Effect.mapError(reader.pull, error(ConnectionClosedError))) {
        const bytes = typeof chunk === "string" ? encoder.encode(chunk) : chunk
        const stranger = isFirst ? Hints.stranger(bytes) : undefined
        isFirst = false
        if (stranger !== undefined) return yield* malformed(stranger)
        const parsed = parser.push(bytes)
        if (Result.isFailure(parsed)) return yield* malformed(parsed.failure)
        messages.push(...parsed.success)
      }
      if (Arr.isArrayNonEmpty(messages)) return messages
    }
  })
  return {
    pull,
    write: (bytes) => Effect.mapError(writer.write(bytes), error(ConnectionClosedError))
  }
})

// Until a connection is agreed upon no request is sent.
const unsent = (error: ConnectionError): ConnectionError =>
  error.reason._tag === "MalformedMessageError"
    ? error
    : new ConnectionError({
      reason: new ConnectionRefusedError({ address: error.address, cause: error.reason.cause ?? error })
    })

// What the system said, which says more than that reading failed.
const systemError = ({ reason }: Socket.SocketError): unknown => {
  if (!("cause" in reason)) return undefined
  // Of a host with several addresses, each of which has failed.
  return reason.cause instanceof AggregateError ? reason.cause.errors.at(-1) : reason.cause
}

const encoder = new TextEncoder()
