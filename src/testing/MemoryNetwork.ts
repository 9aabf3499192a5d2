/**
 * A network in memory, with both sides on it: a `Transport` for backends and a `Listen` for the broker. No sockets, and no
 * clock but Effect's.
 *
 * It keeps the promises of the two contracts, bounds and typed errors as well. Whoever waits for a message goes on in the
 * scheduler's next turn, so that `TestClock.adjust` moves time only when all that was said has been heard. Any host name
 * will do; two networks know nothing of each other. The broker sees a Client as over classic TCP, one connection for each
 * request. The network can be cut and can fall silent, to see how an application bears it.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type { Endpoint } from "../protocol/Endpoint.ts"
import * as Identity from "../protocol/Identity.ts"
import { ConnectionError, ConnectionRefusedError } from "../protocol/KosmonautError.ts"
import { type Options, Transport } from "../transport/Transport.ts"
import { checkPort, type Listen, ListenError } from "../transport/TransportServer.ts"
import type { Connection } from "./internal/connection.ts"
import * as Line from "./internal/line.ts"
import * as MemoryTransport from "./internal/memoryTransport.ts"
import * as MemoryTransportServer from "./internal/memoryTransportServer.ts"

/**
 * A network in memory.
 *
 * @since 0.1.0
 */
export class MemoryNetwork extends Context.Service<MemoryNetwork, {
  /**
   * A backend's way into the network, for URLs of all schemes. As over classic TCP, a request with a line break in it
   * cannot travel where the scheme ends with `+tcp`.
   */
  readonly transport: (options?: Options) => Transport["Service"]
  /** The broker's way into it. Port 0 picks one that no server of the network has had lately. */
  readonly listen: Listen
  /**
   * Cuts the network: all connections end on both sides, after what has arrived, and new ones are refused. What a silent
   * network held is lost.
   */
  readonly cut: Effect.Effect<void>
  /**
   * Silences the network: connections stand, but nothing passes in either direction, not even that one has ended. What is
   * sent is held, up to 10 000 messages a connection and direction, and passes when the network is restored; to the
   * sender it looks sent. A new connection waits, and is refused after `openTimeout`.
   */
  readonly silence: Effect.Effect<void>
  /** Makes the network good again, whatever it was. Connections that were cut do not come back. */
  readonly restore: Effect.Effect<void>
}>()("kosmonaut/testing/MemoryNetwork") {}

/**
 * Makes a network with nobody on it.
 *
 * @since 0.1.0
 */
export const make = (): MemoryNetwork["Service"] => {
  const line = Line.make()
  const accept = new Map<string, (connection: Connection) => void>()
  const pickPort = makePortPicker()

  const connect = (identity: string, message: string, { address, host, port }: Endpoint) =>
    Effect.suspend(() => {
      const server = addressOf(host, port)
      const accepts = accept.get(server)
      if (line.isCut()) return Effect.fail(refused(address, "the network is cut"))
      if (accepts === undefined) return Effect.fail(refused(address, "nobody listens there"))
      const connection = line.connectUnsafe(identity, message, server)
      accepts(connection)
      return Effect.succeed(connection.client)
    })

  const dial: MemoryTransport.Dial = Effect.fnUntraced(function*(kind, endpoint, openTimeout, { connection, message }) {
    yield* Effect.timeoutOrElse(line.audible, {
      duration: openTimeout,
      orElse: () => Effect.fail(refused(endpoint.address, `no answer within ${Duration.format(openTimeout)}`))
    })
    const identity = Identity.encode(Identity.make(kind, endpoint, connection ?? SecureRandom.uuidV4Unsafe()))
    return yield* Effect.acquireRelease(connect(identity, message, endpoint), (end) => Effect.sync(end.closeUnsafe))
  })

  const listen: Listen = Effect.fnUntraced(function*({ host, maxMessageSize, port: wanted }) {
    yield* checkPort(endpoint, host, wanted)
    const port = wanted === 0 ? pickPort((port) => accept.has(addressOf(host, port))) : wanted
    const address = addressOf(host, port)
    if (accept.has(address)) {
      const cause = new Error("the port is in use. Choose another (0 picks a free one)")
      return yield* new ListenError({ endpoint, host, port, cause })
    }
    const backlog = yield* Queue.unbounded<Connection>()
    yield* Effect.acquireRelease(
      Effect.sync(() => accept.set(address, (connection) => Queue.offerUnsafe(backlog, connection))),
      () =>
        Effect.sync(() => {
          accept.delete(address)
          line.hangUpUnsafe(address)
        })
    )
    return { port, run: MemoryTransportServer.run(backlog, maxMessageSize) }
  })

  return MemoryNetwork.of({
    transport: (options) => MemoryTransport.make(dial, options),
    listen,
    cut: line.become("cut"),
    silence: line.become("silent"),
    restore: line.become("good")
  })
}

/**
 * A network as a layer, with the `Transport` of those who are on it.
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<MemoryNetwork | Transport> =>
  Layer.effect(Transport, Effect.map(MemoryNetwork, (network) => network.transport(options))).pipe(
    Layer.provideMerge(Layer.sync(MemoryNetwork, make))
  )

const endpoint = "backends in memory"

const refused = (address: string, why: string): ConnectionError =>
  new ConnectionError({ reason: new ConnectionRefusedError({ address, cause: new Error(why) }) })

// In a URL an IPv6 address has brackets, where it is listened on it has none.
const addressOf = (host: string, port: number): string => `${host.replace(/^\[|\]$/g, "")}:${port}`

// Those that a system picks from, round and round: a port that was just given up is not given to the next.
const makePortPicker = () => {
  let given = 0
  return (isTaken: (port: number) => boolean): number => {
    const next = (): number => {
      const port = 49_152 + given++ % 16_384
      return isTaken(port) ? next() : port
    }
    return next()
  }
}
