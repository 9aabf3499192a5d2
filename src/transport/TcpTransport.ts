/**
 * The classic way to a broker: TCP as the original 0.3 broker speaks it (`wr+tcp://`), or the same over TLS (`wrs+tcp://`).
 *
 * With a Kosmonaut broker a Client keeps one connection and has any number of requests in flight on it. With any other it
 * opens one for each request, which the broker closes after its response: at most `maxConnections` at a time, further
 * requests wait within their timeout. A Worker keeps one connection. Frames cannot have line breaks; such a message is
 * rejected before it is sent.
 *
 * Over TLS the broker proves by its certificate that it is the expected one, before anything is sent. If it does not, opening a
 * connection fails with `UntrustedBrokerError`.
 *
 * @since 0.1.0
 */

import * as Arr from "effect/Array"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { type Endpoint, parseFingerprint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as FrameParser from "../protocol/FrameParser.ts"
import * as Identity from "../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError,
  InvalidOptionError,
  MalformedMessageError,
  UntrustedBrokerError
} from "../protocol/KosmonautError.ts"
import { integer } from "../protocol/Options.ts"
import * as Batch from "./internal/batch.ts"
import * as Hints from "./internal/hints.ts"
import * as TcpSocket from "./internal/tcpSocket.ts"
import * as TlsSocket from "./internal/tlsSocket.ts"
import {
  check,
  type Connection,
  defaultMaxConnections,
  type Message,
  type Options as TransportOptions,
  Transport
} from "./Transport.ts"

/**
 * The options of this driver.
 *
 * @since 0.1.0
 */
export interface Options extends TransportOptions {
  /** How many connections a Client opens at a time to a broker that needs one for each request, default 64. */
  readonly maxConnections?: number | undefined
  /** How the broker is known, over `wrs+tcp`. */
  readonly tls?: TlsOptions | undefined
}

/**
 * How a broker is known by its certificate. By default one of the authorities that Node.js trusts must have signed it
 * (`NODE_EXTRA_CA_CERTS` names more), for the host of the URL.
 *
 * @since 0.1.0
 */
export interface TlsOptions {
  /** The certificates, PEM, of those who may have signed it, instead of those that Node.js trusts. */
  readonly ca?: string | ReadonlyArray<string> | undefined
  /**
   * The SHA-256 of the certificate, 64 hexadecimal digits, with colons or without. The broker must have exactly this one, and
   * nothing else is checked. Default the `fingerprint` of the URL, if there is one.
   */
  readonly fingerprint?: string | undefined
  /** The host name that the certificate is for, default that of the URL. */
  readonly serverName?: string | undefined
}

/**
 * Makes the transport. It opens nothing by itself.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  return Transport.of({
    schemes: ["wr+tcp", "wrs+tcp"],
    maxMessageSize,
    maxConnections: options.maxConnections ?? defaultMaxConnections,
    connect: Effect.fnUntraced(function*(endpoint, { kind, pipelines = true }) {
      const stream = yield* open({ endpoint, openTimeout, maxMessageSize, tls: options.tls ?? {} })
      const id = SecureRandom.uuidV4Unsafe()
      const identity = Identity.encode(Identity.make(kind, endpoint, id))
      if (kind !== "req" || !pipelines) return plain(id, identity, stream)
      return (yield* offer(identity, stream, endpoint.address, openTimeout))
        ? pipelined(id, stream)
        : plain(id, identity, stream)
    })
  })
}

/**
 * Classic TCP as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Transport, InvalidOptionError> =>
  Layer.effect(
    Transport,
    Effect.fromResult(
      Result.andThen(check(options), () => integer("maxConnections", options.maxConnections ?? defaultMaxConnections))
        .pipe(
          Result.andThen(() => checkFingerprint(options.tls?.fingerprint))
        )
    ).pipe(Effect.map(() => make(options)))
  )

const checkFingerprint = (fingerprint: string | undefined): Result.Result<void, InvalidOptionError> =>
  fingerprint === undefined || parseFingerprint(fingerprint) !== undefined
    ? Result.succeed(undefined)
    : Result.fail(
      new InvalidOptionError({
        option: "tls.fingerprint",
        value: JSON.stringify(fingerprint.slice(0, 100)),
        allowed: "the SHA-256 of a certificate, 64 hexadecimal digits"
      })
    )

/** A TCP connection that carries lists of frames. */
interface FrameStream {
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frame.Frames>, ConnectionError>
  /** Begins to write at once. */
  readonly writeUnsafe: (bytes: Uint8Array, settled: (error?: ConnectionError) => void) => void
}

// The identity stands before the first message, and no message has an envelope.
const plain = (id: string, identity: string, { pull, writeUnsafe }: FrameStream): Connection => {
  let prefix: Frame.Frames = [identity, ""]
  let size = 0
  return {
    id,
    pipelines: false,
    isKosmonaut: () => false,
    batches: () => true,
    enough: Infinity,
    pull: Effect.mapError(
      Effect.map(pull, Arr.map((frames): Message => ({ envelope: "", frames }))),
      (error) => size < Hints.largeForTheOriginal ? error : Hints.maybeTooLarge(error, size)
    ),
    sendUnsafe: ([first, ...others], settled) => {
      const bytes = Frame.encodeAll([[...prefix, ...first.frames], ...others.map(({ frames }) => frames)])
      prefix = []
      size = bytes.length
      writeUnsafe(bytes, settled)
    }
  }
}

// Every message begins with a frame that its response echoes.
const pipelined = (id: string, { pull, writeUnsafe }: FrameStream): Connection => ({
  id,
  pipelines: true,
  isKosmonaut: () => true,
  batches: () => true,
  enough: Infinity,
  pull: Effect.map(pull, Arr.map(([envelope = "", ...frames]) => ({ envelope, frames }))),
  sendUnsafe: (messages, settled) =>
    writeUnsafe(Frame.encodeAll(messages.map(({ envelope, frames }) => [envelope, ...frames])), settled)
})

// Offers to keep the connection. The original takes that for a bad request, and executes nothing. Until the offer is answered
// no request is sent.
const offer = Effect.fnUntraced(
  function*(identity: string, { pull, writeUnsafe }: FrameStream, address: string, openTimeout: Duration.Duration) {
    yield* Effect.callback<void, ConnectionError>((resume) =>
      writeUnsafe(
        Frame.encode([identity, Batch.marker]),
        (error) => resume(error === undefined ? Effect.void : Effect.fail(error))
      )
    )
    const [answer] = yield* Effect.timeoutOrElse(pull, {
      duration: openTimeout,
      orElse: () =>
        Effect.fail(new ConnectionError({ reason: new ConnectionTimeoutError({ address, cause: Hints.silent }) }))
    })
    return answer[0] === Batch.marker
  },
  Effect.mapError((error) =>
    error.reason._tag === "MalformedMessageError" ? error : new ConnectionError({
      reason: new ConnectionRefusedError({ address: error.address, cause: error.reason.cause ?? error })
    })
  )
)

const errorsAt =
  (address: string) => (Reason: typeof ConnectionRefusedError | typeof ConnectionClosedError) => (cause: unknown) =>
    new ConnectionError({
      reason: new Reason({ address, cause: Socket.isSocketError(cause) ? systemError(cause) : cause })
    })

// It ends with its scope, after all that was written is flushed.
const open = Effect.fnUntraced(function*(options: {
  readonly endpoint: Endpoint
  readonly openTimeout: Duration.Duration
  readonly maxMessageSize: number
  readonly tls: TlsOptions
}): Effect.fn.Return<FrameStream, ConnectionError, Scope.Scope> {
  const { address } = options.endpoint
  const error = errorsAt(address)
  const socket = yield* socketOf(options)
  const reader = yield* Effect.mapError(
    socket.reader,
    options.endpoint.scheme === "wr+tcp" ? error(ConnectionRefusedError) : refusedOverTls(address)
  )
  const parse = makeParser(options.maxMessageSize)

  const pull: FrameStream["pull"] = Effect.gen(function*() {
    for (;;) {
      const parsed = parse(yield* Effect.mapError(reader.pull, error(ConnectionClosedError)))
      if (Result.isFailure(parsed)) {
        return yield* new ConnectionError({ reason: new MalformedMessageError({ address, cause: parsed.failure }) })
      }
      if (Arr.isReadonlyArrayNonEmpty(parsed.success)) return parsed.success
    }
  })
  return {
    pull,
    writeUnsafe: (bytes, settled) =>
      socket.writeUnsafe(bytes, (cause) => settled(cause && error(ConnectionClosedError)(cause)))
  }
})

const socketOf = ({ endpoint, openTimeout, tls }: {
  readonly endpoint: Endpoint
  readonly openTimeout: Duration.Duration
  readonly tls: TlsOptions
}): Effect.Effect<TcpSocket.TcpSocket> => {
  const address = { host: endpoint.host.replace(/^\[|\]$/g, ""), port: endpoint.port, openTimeout }
  if (endpoint.scheme === "wr+tcp") return TcpSocket.make(address)
  const fingerprint = parseFingerprint(tls.fingerprint ?? endpoint.fingerprint ?? "")
  return TlsSocket.make({ ...address, trust: { ...tls, fingerprint } })
}

const refusedOverTls = (address: string) => (error: Socket.SocketError): ConnectionError => {
  const cause = systemError(error)
  return new ConnectionError({
    reason: cause instanceof TlsSocket.CertificateError
      ? new UntrustedBrokerError({ address, cause })
      : new ConnectionRefusedError({ address, cause: Hints.ofTls(cause) })
  })
}

// Reads messages. What cannot be read is explained, if the first bytes show what the peer is.
const makeParser = (maxMessageSize: number) => {
  const parser = FrameParser.make(maxMessageSize)
  let isFirst = true
  return (chunks: ReadonlyArray<string | Uint8Array>): Result.Result<ReadonlyArray<Frame.Frames>, Error> => {
    const messages: Array<Frame.Frames> = []
    for (const chunk of chunks) {
      const bytes = typeof chunk === "string" ? encoder.encode(chunk) : chunk
      const stranger = isFirst ? Hints.stranger(bytes) : undefined
      isFirst = false
      if (stranger !== undefined) return Result.fail(stranger)
      const parsed = parser.push(bytes)
      if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
      messages.push(...parsed.success)
    }
    return Result.succeed(messages)
  }
}

// The system's own error, which has more detail than that reading failed.
const systemError = ({ reason }: Socket.SocketError): unknown => {
  if (!("cause" in reason)) return undefined
  // Of a host with several addresses, each of which has failed.
  return reason.cause instanceof AggregateError ? reason.cause.errors.at(-1) : reason.cause
}

const encoder = new TextEncoder()
