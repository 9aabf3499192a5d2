/**
 * The default way to a broker: ZeroMQ DEALER sockets (`wr://`).
 *
 * A Client keeps one connection and has any number of requests in flight on it, each under a correlation frame that the
 * broker echoes. Requests that are made at the same moment travel together, if the broker reads batches. When the connection
 * is lost, or has been silent for the whole time of a request, everything in flight fails with `ConnectionError`, and the
 * next request connects again with a fresh identity. A host name with several addresses is tried at each of them.
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
import { constVoid } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Frame from "../protocol/Frame.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionClosedError, ConnectionError, ConnectionRefusedError } from "../protocol/KosmonautError.ts"
import * as Batch from "./internal/batch.ts"
import type { Mailbox } from "./internal/exchange.ts"
import * as Hints from "./internal/hints.ts"
import * as Pipeline from "./internal/pipeline.ts"
import * as Zmq from "./internal/zmqSocket.ts"
import { type Options, type Session, Transport } from "./Transport.ts"

/**
 * Makes the transport. It opens nothing by itself.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Transport["Service"] => {
  const maxMessageSize = options.maxMessageSize ?? Frame.defaultMaxMessageSize
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const bound = { maxMessageSize: maxMessageSize - Frame.envelopeSize, lines: false }

  const dial = Effect.fnUntraced(function*(kind: Identity.Kind, endpoint: Endpoint, onBatches: () => void = constVoid) {
    const name = SecureRandom.uuidV4Unsafe()
    const routingId = Identity.encode(Identity.make(kind, endpoint, name))
    const { host, port } = endpoint
    const socket = yield* Zmq.dealer({ host, port, routingId, maxMessageSize, openTimeout }).pipe(
      Effect.mapError(({ code }) =>
        new ConnectionError({
          reason: new ConnectionRefusedError({ address: endpoint.address, cause: Hints.ofCode(code) })
        })
      )
    )
    return makeMailbox({ name, socket, onBatches })
  })

  const session = Effect.fnUntraced(function*(endpoint: Endpoint): Effect.fn.Return<
    Session,
    ConnectionError,
    Scope.Scope
  > {
    const mailbox = yield* dial("dlr", endpoint)
    const closed = (cause: unknown) =>
      new ConnectionError({ reason: new ConnectionClosedError({ address: endpoint.address, cause }) })
    return {
      send: (frames) =>
        Effect.callback((resume) =>
          mailbox.sendUnsafe(
            [{ envelope: "", frames }],
            (error) => resume(error === undefined ? Effect.void : Effect.fail(closed(error)))
          )
        ),
      pull: Effect.map(mailbox.pull, Arr.map(({ frames }) => frames)).pipe(Effect.mapError(closed))
    }
  })

  return Transport.of({
    schemes: ["wr"],
    session,
    requester: Effect.fnUntraced(function*(endpoint, limits) {
      let isOurs = false
      const pipeline = yield* Pipeline.make({
        ...limits,
        address: endpoint.address,
        bound,
        dial: dial("req", endpoint, () => {
          isOurs = true
        })
      })
      return { ...pipeline, supportsExtensions: () => isOurs }
    })
  })
}

/**
 * ZeroMQ as the transport.
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Transport> => Layer.sync(Transport, () => make(options))

// Many items at a time, once it is known that the broker reads batches, as none but ours does.
const makeMailbox = ({ name, onBatches, socket }: {
  readonly name: string
  readonly socket: Zmq.ZmqSocket
  readonly onBatches: () => void
}): Mailbox => {
  let brokerReadsBatches = false

  const itemsOf = (raw: Zmq.RawFrames): ReadonlyArray<Batch.Item> => {
    if (raw.length > 1 || !Batch.isBatch(raw[0]!)) return [plain(raw)]
    if (!brokerReadsBatches) onBatches()
    brokerReadsBatches = true
    return Batch.decode(String(raw[0])) ?? []
  }
  const pull: Mailbox["pull"] = Effect.flatMap(socket.pull, (raws) => {
    const items = raws.flatMap(itemsOf)
    return Arr.isArrayNonEmpty(items) ? Effect.succeed(items) : pull
  })
  return {
    name,
    pull,
    readsBatches: () => brokerReadsBatches,
    enough: 32,
    sendUnsafe: (items, settled) => {
      const [{ envelope, frames }] = items as Arr.NonEmptyReadonlyArray<Batch.Item>
      const raw = brokerReadsBatches
        ? [Batch.encode(items)]
        : [...envelope === "" ? [] : [envelope], Batch.marker, "", ...frames]
      socket.sendUnsafe(raw, settled)
    }
  }
}

// What stands before the empty delimiter is the envelope: our one correlation frame, or nothing.
const plain = (raw: Zmq.RawFrames): Batch.Item => {
  const delimiter = raw.findIndex((frame) => frame.length === 0)
  return { envelope: delimiter > 0 ? String(raw[0]) : "", frames: raw.slice(delimiter + 1).map(String) }
}
