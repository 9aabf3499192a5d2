/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each with a correlation frame that the
 * broker echoes. Requests of the same turn are sent as one message, if the broker reads batches. Each address of a host name
 * is tried.
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
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  type InvalidOptionError
} from "../protocol/KosmonautError.ts"
import * as Batch from "./internal/batch.ts"
import * as Hints from "./internal/hints.ts"
import * as Zmq from "./internal/zmqSocket.ts"
import { check, type Connection, defaultMaxConnections, type Message, type Options, Transport } from "./Transport.ts"

/**
 * Makes the transport. It opens nothing by itself.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  return Transport.of({
    schemes: ["wr"],
    maxMessageSize,
    maxConnections: defaultMaxConnections,
    connect: Effect.fnUntraced(function*(endpoint, { kind }) {
      const id = SecureRandom.uuidV4Unsafe()
      const routingId = Identity.encode(Identity.make(kind, endpoint, id))
      const { address, host, port } = endpoint
      const socket = yield* Zmq.dealer({ host, port, routingId, maxMessageSize, openTimeout }).pipe(
        Effect.mapError(({ code }) =>
          new ConnectionError({ reason: new ConnectionRefusedError({ address, cause: Hints.ofCode(code) }) })
        )
      )
      return makeConnection(id, address, socket)
    })
  })
}

/**
 * ZeroMQ as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Transport, InvalidOptionError> =>
  Layer.effect(Transport, Effect.map(Effect.fromResult(check(options)), () => make(options)))

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
    enough: 32,
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
