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

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import { type Endpoint, parseFingerprint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError,
  InvalidOptionError,
  UntrustedBrokerError
} from "../protocol/KosmonautError.ts"
import { integer } from "../protocol/Options.ts"
import * as Batch from "./internal/batch.ts"
import * as FrameReader from "./internal/frameReader.ts"
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
      const name = Identity.encode(Identity.make(kind, endpoint, id))
      if (kind !== "req" || !pipelines) return plain(id, name, stream)
      return (yield* offer(name, stream, endpoint.address, openTimeout))
        ? pipelined(id, stream)
        : plain(id, name, stream)
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
interface FrameStream extends FrameReader.FrameReader {
  /** Begins to write at once. */
  readonly writeUnsafe: (text: string, settled: (error?: ConnectionError) => void) => void
}

// The identity stands before the first message, and no message has an envelope.
const plain = (id: string, name: string, { pull, writeUnsafe }: FrameStream): Connection => {
  let prefix = `${name}\n\n`
  let size = 0
  return {
    id,
    pipelines: false,
    isKosmonaut: () => false,
    batches: () => true,
    enough: Infinity,
    pull: pull(
      (frames): Message => ({ envelope: "", frames }),
      (error) => size < Hints.largeForTheOriginal ? error : Hints.maybeTooLarge(error, size)
    ),
    sendUnsafe: (messages, settled) => {
      let text = prefix
      for (const { frames } of messages) text += Frame.textOf(frames)
      prefix = ""
      // A character has at most three bytes, so that most messages need not be counted.
      const isSmall = messages.length > 1 || text.length * 3 < Hints.largeForTheOriginal
      size = isSmall ? 0 : Frame.byteLength(text)
      writeUnsafe(text, settled)
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
  pull: pull((frames) => ({ envelope: frames[0] ?? "", frames: frames.slice(1) })),
  sendUnsafe: (messages, settled) => {
    let text = ""
    for (const { envelope, frames } of messages) text += `${envelope}\n${Frame.textOf(frames)}`
    writeUnsafe(text, settled)
  }
})

// Offers to keep the connection. The original takes that for a bad request, and executes nothing. Until the offer is answered
// no request is sent.
const offer = Effect.fnUntraced(
  function*(name: string, { pull, writeUnsafe }: FrameStream, address: string, openTimeout: Duration.Duration) {
    yield* Effect.callback<void, ConnectionError>((resume) =>
      writeUnsafe(
        Frame.textOf([name, Batch.marker]),
        (error) => resume(error === undefined ? Effect.void : Effect.fail(error))
      )
    )
    const [answer] = yield* Effect.timeoutOrElse(pull(identity), {
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

// It ends with its scope, after all that was written is flushed.
const open = Effect.fnUntraced(function*(options: {
  readonly endpoint: Endpoint
  readonly openTimeout: Duration.Duration
  readonly maxMessageSize: number
  readonly tls: TlsOptions
}): Effect.fn.Return<FrameStream, ConnectionError, Scope.Scope> {
  const { endpoint: { address }, maxMessageSize } = options
  const socket = yield* openSocket(options)
  const { pull } = yield* FrameReader.make({ socket, address, maxMessageSize })
  return {
    pull,
    writeUnsafe: (text, settled) =>
      TcpSocket.writeUnsafe(
        socket,
        text,
        (cause) => settled(cause && new ConnectionError({ reason: new ConnectionClosedError({ address, cause }) }))
      )
  }
})

const openSocket = ({ endpoint, openTimeout, tls }: {
  readonly endpoint: Endpoint
  readonly openTimeout: Duration.Duration
  readonly tls: TlsOptions
}): Effect.Effect<Socket, ConnectionError, Scope.Scope> => {
  const refused = refusedAt(endpoint.address, endpoint.scheme === "wrs+tcp")
  const address = { host: endpoint.host.replace(/^\[|\]$/g, ""), port: endpoint.port, openTimeout, refused }
  if (endpoint.scheme === "wr+tcp") return TcpSocket.open(address)
  const fingerprint = parseFingerprint(tls.fingerprint ?? endpoint.fingerprint ?? "")
  return TlsSocket.open({ ...address, trust: { ...tls, fingerprint } })
}

const refusedAt = (address: string, isTls: boolean) => (error: Error): ConnectionError => {
  // Of a host with several addresses, each of which has failed.
  const cause = error instanceof AggregateError ? error.errors.at(-1) : error
  return new ConnectionError({
    reason: cause instanceof TlsSocket.CertificateError
      ? new UntrustedBrokerError({ address, cause })
      : new ConnectionRefusedError({ address, cause: isTls ? Hints.ofTls(cause) : cause })
  })
}
