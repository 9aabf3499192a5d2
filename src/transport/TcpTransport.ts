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
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Socket from "effect/socket/Socket"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as FrameParser from "../protocol/FrameParser.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionError, RequestTimeoutError } from "../protocol/KosmonautError.ts"
import * as Batch from "./internal/batch.ts"
import * as Pipeline from "./internal/pipeline.ts"
import { type Options as TransportOptions, type Session, Transport } from "./Transport.ts"

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
  const check = (frames: Frame.Frames) => Frame.check(frames, bound)
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
              return write([message])
            }),
          pull
        }
      }),
    requester: Effect.fnUntraced(function*(endpoint, { requestTimeout }) {
      const connections = yield* Semaphore.make(maxConnections)
      const exchange = Effect.fnUntraced(function*(frames: Frame.Frames) {
        const { pull, write } = yield* dial(endpoint)
        yield* write([[...envelopeOf("req", endpoint), ...frames]])
        return Arr.headNonEmpty(yield* pull)
      }, Effect.scoped)
      const alone = (frames: Frame.Frames) =>
        exchange(frames).pipe(
          connections.withPermits(1),
          Effect.timeoutOrElse({
            duration: requestTimeout,
            orElse: () => Effect.fail(new RequestTimeoutError({ command: frames[0]!, after: requestTimeout }))
          })
        )

      let isOurs = false
      const pipeline = yield* Pipeline.make({
        address: endpoint.address,
        requestTimeout,
        check,
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
      return {
        knowsAdditions: () => isOurs,
        direct: pipeline.direct,
        request: (frames, sent) =>
          Effect.suspend(() =>
            isClassic
              ? Effect.andThen(Effect.fromResult(check(frames)), alone(frames))
              : Effect.catchTag(pipeline.request(frames, sent), "ClassicBroker", () => {
                isClassic = true
                isOurs = false
                return alone(frames)
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
  readonly write: (messages: ReadonlyArray<Frame.Frames>) => Effect.Effect<void, ConnectionError>
}

/** The broker is the original or like it: it does not know how to keep a Client's connection. */
class ClassicBroker extends Schema.TaggedError<ClassicBroker>("kosmonaut/transport/TcpTransport/ClassicBroker")(
  "ClassicBroker",
  {}
) {}

// Says that it would keep the connection. The original takes that for a bad request, and carries nothing out.
const converse = Effect.fnUntraced(function*(
  { pull, write }: Connection,
  endpoint: Endpoint,
  openTimeout: Duration.Duration
): Effect.fn.Return<Pipeline.Mailbox, ConnectionError | ClassicBroker, Scope.Scope> {
  const name = SecureRandom.uuidV4Unsafe()
  yield* write([[envelopeOf("req", endpoint, name)[0]!, Batch.marker]])
  const [answer] = yield* Effect.timeoutOrElse(pull, {
    duration: openTimeout,
    orElse: () => Effect.fail(new ConnectionError({ address: endpoint.address, reason: "Silent" }))
  })
  if (answer[0] !== Batch.marker) return yield* new ClassicBroker()

  interface Outgoing {
    readonly message: Frame.Frames
    readonly settled: Pipeline.Settled
  }
  const outgoing = yield* Queue.unbounded<Outgoing>()
  yield* Queue.takeAll(outgoing).pipe(
    Effect.flatMap((batch) =>
      Effect.matchEffect(write(batch.map(({ message }) => message)), {
        onFailure: (error) => Effect.sync(() => batch.forEach(({ message, settled }) => settled(error, message[0]!))),
        onSuccess: () => Effect.void
      })
    ),
    (speak) => Effect.forever(speak, { disableYield: true }),
    Effect.forkScoped
  )
  return {
    name,
    pull: Effect.map(pull, Arr.map(([envelope = "", ...frames]) => ({ envelope, frames }))),
    sendUnsafe: (envelope, frames, settled) => {
      Queue.offerUnsafe(outgoing, { message: [envelope, ...frames], settled })
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
  const error = (reason: ConnectionError["reason"]) => (cause: unknown) =>
    new ConnectionError({ address, reason, cause: Socket.isSocketError(cause) ? systemError(cause) : cause })
  const socket = yield* NodeSocket.makeNet({
    host: host.replace(/^\[|\]$/g, ""),
    port,
    noDelay: true,
    openTimeout: options.openTimeout
  })
  const writer = yield* socket.writer
  const reader = yield* Effect.mapError(socket.reader, error("Refused"))
  const parser = FrameParser.make(options.maxMessageSize)

  const pull: Session["pull"] = Effect.gen(function*() {
    for (;;) {
      const messages: Array<Frame.Frames> = []
      for (const chunk of yield* Effect.mapError(reader.pull, error("Closed"))) {
        const parsed = parser.push(typeof chunk === "string" ? encoder.encode(chunk) : chunk)
        if (Result.isFailure(parsed)) return yield* error("Malformed")(parsed.failure)
        messages.push(...parsed.success)
      }
      if (Arr.isArrayNonEmpty(messages)) return messages
    }
  })
  return {
    pull,
    write: (messages) => Effect.mapError(writer.write(Frame.encodeAll(messages)), error("Closed"))
  }
})

// Until a connection is agreed upon no request is sent.
const unsent = (error: ConnectionError): ConnectionError =>
  error.reason === "Malformed"
    ? error
    : new ConnectionError({ address: error.address, reason: "Refused", cause: error.cause ?? error })

// What the system said, which says more than that reading failed.
const systemError = ({ reason }: Socket.SocketError): unknown => "cause" in reason ? reason.cause : undefined

const encoder = new TextEncoder()
