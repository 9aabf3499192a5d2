/**
 * A network in memory, with both sides on it: a `Transport` for backends and a `Listen` for the broker. It has no sockets, and
 * no clock but Effect's.
 *
 * It keeps the promises of the two contracts, with their limits and typed errors. Whoever waits for a message continues in the
 * scheduler's next turn, so that `TestClock.adjust` moves time only when all that was sent has been received. Any host name
 * will do; two networks are independent. The network can be cut and silenced, to test how an application handles that.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type { Endpoint } from "../protocol/Endpoint.ts"
import { ConnectionError, ConnectionRefusedError } from "../protocol/KosmonautError.ts"
import { type Options, Transport } from "../transport/Transport.ts"
import { checkPort, type Listen, ListenError } from "../transport/TransportServer.ts"
import type { Connection } from "./internal/connection.ts"
import * as MemoryTransport from "./internal/memoryTransport.ts"
import * as MemoryTransportServer from "./internal/memoryTransportServer.ts"
import * as NetworkState from "./internal/networkState.ts"

/**
 * A network in memory.
 *
 * @since 0.1.0
 */
export class MemoryNetwork extends Context.Service<MemoryNetwork, {
  /**
   * A backend's transport on the network, for URLs of all schemes. As over classic TCP, a request with a line break cannot
   * be sent if the scheme ends with `+tcp`.
   */
  readonly transport: (options?: Options) => Transport["Service"]
  /** Binds a broker's server on the network. Port 0 picks one that no server of the network has had lately. */
  readonly listen: Listen
  /**
   * Cuts the network: all connections end on both sides, after what has arrived, and new ones are refused. Messages that a
   * silent network holds are lost.
   */
  readonly cut: Effect.Effect<void>
  /**
   * Silences the network: connections stay open, but nothing arrives in either direction, not even that one has ended. What
   * is sent is held, up to 10 000 messages per connection and direction, and arrives when the network is restored; to the
   * sender it looks sent. A new connection waits, and is refused after `openTimeout`.
   */
  readonly silence: Effect.Effect<void>
  /** Ends a cut or a silence. Connections that were cut stay closed. */
  readonly restore: Effect.Effect<void>
}>()("kosmonaut/testing/MemoryNetwork") {}

/**
 * Makes a network without servers and connections.
 *
 * @since 0.1.0
 */
export const make = (): MemoryNetwork["Service"] => {
  const state = NetworkState.make()
  const accept = new Map<string, (connection: Connection) => void>()
  const pickPort = makePortPicker()

  const connect = (identity: string, { address, host, port }: Endpoint) =>
    Effect.suspend(() => {
      const server = addressOf(host, port)
      const accepts = accept.get(server)
      if (state.isCut()) return Effect.fail(refused(address, "the network is cut"))
      if (accepts === undefined) return Effect.fail(refused(address, "nothing listens there"))
      const connection = state.connectUnsafe(identity, server)
      accepts(connection)
      return Effect.succeed(connection.client)
    })

  const dial: MemoryTransport.Dial = Effect.fnUntraced(function*(identity, endpoint, openTimeout) {
    yield* Effect.timeoutOrElse(state.audible, {
      duration: openTimeout,
      orElse: () => Effect.fail(refused(endpoint.address, `no answer within ${Duration.format(openTimeout)}`))
    })
    return yield* Effect.acquireRelease(connect(identity, endpoint), (end) => Effect.sync(end.closeUnsafe))
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
          state.disconnectUnsafe(address)
        })
    )
    return { port, run: MemoryTransportServer.run(backlog, maxMessageSize) }
  })

  return MemoryNetwork.of({
    transport: (options) => MemoryTransport.make(dial, options),
    listen,
    cut: state.set("cut"),
    silence: state.set("silent"),
    restore: state.set("connected")
  })
}

/**
 * A network as a layer, with a `Transport` on it.
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

// An IPv6 address has brackets in a URL, and none in the options of a server.
const addressOf = (host: string, port: number): string => `${host.replace(/^\[|\]$/g, "")}:${port}`

// The ports that systems pick from, in turn: a port that was just freed is not picked next.
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
