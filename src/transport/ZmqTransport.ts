/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`), or the same encrypted with CURVE (`wrs://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each with a correlation frame that the
 * broker echoes. Requests of the same turn are sent as one message, if the broker reads batches. Each address of a host name
 * is tried.
 *
 * With CURVE the broker proves by its key that it is the expected one, before anything is sent. If it does not, opening a
 * connection fails with `UntrustedBrokerError`.
 *
 * The package `zeromq` is loaded with the first connection; if it cannot be, that fails with `ConnectionError`. In a thread
 * of `node:worker_threads` the sockets are closed when the thread exits. `Worker.terminate()` gives no chance for that, and
 * zeromq then aborts the process: end the thread's fibers first, or have it call `process.exit()`.
 *
 * @since 0.1.0
 */

import * as Arr from "effect/Array"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as CurveKey from "../protocol/CurveKey.ts"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  InvalidOptionError,
  UntrustedBrokerError
} from "../protocol/KosmonautError.ts"
import * as CurveKeys from "./CurveKeys.ts"
import * as Batch from "./internal/batch.ts"
import * as Hints from "./internal/hints.ts"
import * as Zmq from "./internal/zmqSocket.ts"
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
  /** Keys, over `wrs`. */
  readonly curve?: CurveOptions | undefined
}

/**
 * Keys for CURVE: 64 hexadecimal digits, or 40 characters as ZeroMQ writes them. `kosmonaut keygen` makes pairs of them.
 *
 * @since 0.1.0
 */
export interface CurveOptions {
  /** The broker's public key, default the `serverKey` of the URL. */
  readonly serverKey?: string | undefined
  /** The own secret key, for a broker that accepts certain keys only. Default a new one for each connection. */
  readonly secretKey?: string | Redacted.Redacted | undefined
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
    schemes: ["wr", "wrs"],
    maxMessageSize,
    maxConnections: defaultMaxConnections,
    connect: Effect.fnUntraced(function*(endpoint, { kind }) {
      const id = SecureRandom.uuidV4Unsafe()
      const routingId = Identity.encode(Identity.make(kind, endpoint, id))
      const { address, host, port } = endpoint
      const curve = yield* curveOf(endpoint, options.curve ?? {})
      const socket = yield* Zmq.dealer({ host, port, routingId, maxMessageSize, openTimeout, curve }).pipe(
        Effect.mapError(({ code }) => new ConnectionError({ reason: reasonOf(code, endpoint) }))
      )
      return makeConnection(id, address, socket)
    })
  })
}

// The keys of an encrypted connection.
const curveOf = (
  { address, scheme, serverKey }: Endpoint,
  options: CurveOptions
): Effect.Effect<Zmq.CurveOptions | undefined, ConnectionError> => {
  if (scheme !== "wrs") return Effect.succeed(undefined)
  const server = CurveKey.parse(options.serverKey ?? serverKey ?? "")
  if (server === undefined) {
    const cause = new Error("wrs:// needs the broker's public key: ?serverKey= in the URL, or curve.serverKey")
    return Effect.fail(new ConnectionError({ reason: new UntrustedBrokerError({ address, cause }) }))
  }
  const secret = secretOf(options)
  const own = secret === undefined ? undefined : {
    publicKey: CurveKey.toZ85(CurveKeys.fromSecretKey(secret).publicKey),
    secretKey: CurveKey.toZ85(secret)
  }
  return Effect.succeed({ serverKey: CurveKey.toZ85(server), own })
}

const secretOf = ({ secretKey }: CurveOptions): string | undefined =>
  secretKey === undefined
    ? undefined
    : CurveKey.parse(Redacted.isRedacted(secretKey) ? Redacted.value(secretKey) : secretKey)

// EACCES: the broker could not read what was encrypted for the key that it should have.
const reasonOf = (code: string, { address, scheme }: Endpoint): ConnectionError["reason"] =>
  code === "EACCES" && scheme === "wrs"
    ? new UntrustedBrokerError({ address, cause: new Error("it has another key than serverKey says") })
    : new ConnectionRefusedError({ address, cause: Hints.ofCode(code, scheme) })

const checkKeys = ({ secretKey, serverKey }: CurveOptions): Result.Result<void, InvalidOptionError> => {
  const invalid = (option: string, value: string) =>
    Result.fail(new InvalidOptionError({ option: `curve.${option}`, value, allowed: "a key of 64 hexadecimal digits" }))
  if (serverKey !== undefined && CurveKey.parse(serverKey) === undefined) {
    return invalid("serverKey", JSON.stringify(serverKey.slice(0, 100)))
  }
  // What a secret is, is in no error.
  return secretKey !== undefined && secretOf({ secretKey }) === undefined
    ? invalid("secretKey", "what it is")
    : Result.succeed(undefined)
}

/**
 * ZeroMQ as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Transport, InvalidOptionError> =>
  Layer.effect(
    Transport,
    Effect.map(
      Effect.fromResult(Result.andThen(check(options), () => checkKeys(options.curve ?? {}))),
      () => make(options)
    )
  )

// Only a Kosmonaut broker sends batches, and it reads them, too.
const makeConnection = (id: string, address: string, socket: Zmq.ZmqSocket): Connection => {
  const closed = (cause: unknown) => new ConnectionError({ reason: new ConnectionClosedError({ address, cause }) })
  let isKosmonaut = false
  const messagesOf = (raw: Zmq.RawFrames): ReadonlyArray<Message> => {
    if (raw.length > 1 || !Batch.isBatch(raw[0]!)) return [plain(raw)]
    isKosmonaut = true
    return Batch.decode(String(raw[0])) ?? []
  }
  const pull: Connection["pull"] = Effect.matchEffect(socket.pull, {
    onFailure: (error) => Effect.fail(closed(error)),
    onSuccess: (raws) => {
      const messages = raws.flatMap(messagesOf)
      return Arr.isArrayNonEmpty(messages) ? Effect.succeed(messages) : pull
    }
  })
  return {
    id,
    pipelines: true,
    isKosmonaut: () => isKosmonaut,
    batches: () => isKosmonaut,
    enough: 128,
    pull,
    sendUnsafe: (messages, settled) => {
      const [{ envelope, frames }] = messages
      const raw = isKosmonaut
        ? [Batch.encode(messages)]
        : [...envelope === "" ? [] : [envelope], Batch.marker, "", ...frames]
      socket.sendUnsafe(raw, (error) => settled(error && closed(error)))
    }
  }
}

// The frames before the empty delimiter are the envelope: one correlation frame, or nothing.
const plain = (raw: Zmq.RawFrames): Message => {
  const delimiter = raw.findIndex((frame) => frame.length === 0)
  return { envelope: delimiter > 0 ? String(raw[0]) : "", frames: raw.slice(delimiter + 1).map(String) }
}
