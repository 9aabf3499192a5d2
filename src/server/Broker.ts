/**
 * A whole broker in one layer: vhosts, and the endpoints for browsers and backends.
 *
 * It is up when the layer is built: all ports are bound. It ends with its scope: workers are told to go (`QT`), browsers
 * get a close code that means come back (1001), and all ports are free again. Whatever browsers do, their endpoint ends
 * within `shutdownTimeout`.
 *
 * With `storageDir` it goes on where the last broker has ended, also if that crashed. What is persisted, and when, is in
 * `docs/protocol.md`.
 *
 * If there is a tracer when the layer is built, each request of a Client has a span, `Broker.<command>`, below the
 * Client's, and each trigger of a browser begins a trace, `Broker.trigger`. Metrics are in `BrokerMetrics`.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Endpoint, toUrl } from "../protocol/Endpoint.ts"
import type { InternalError, InvalidChannelNameError } from "../protocol/KosmonautError.ts"
import type { ListenError } from "../transport/TransportServer.ts"
import * as BrokerConfig from "./BrokerConfig.ts"
import type { InvalidOptionError, InvalidVhostError, VhostExistsError } from "./BrokerError.ts"
import * as BackendEndpoint from "./endpoint/BackendEndpoint.ts"
import * as WebSocketEndpoint from "./endpoint/WebSocketEndpoint.ts"
import * as Engine from "./engine/Vhosts.ts"
import * as VhostViews from "./engine/VhostViews.ts"
import * as SqliteStore from "./store/SqliteStore.ts"
import * as Store from "./store/Store.ts"
import type * as Vhosts from "./Vhosts.ts"

/**
 * A running broker: where it can be reached.
 *
 * @since 0.1.0
 */
export class Broker extends Context.Service<Broker, {
  readonly host: string
  readonly websocketPort: number
  readonly backendPort: number
  readonly tcpPort: number
  /** Its base addresses, without vhost and token: `ws://…`, `wr://…`, `wr+tcp://…`. */
  readonly addresses: { readonly websocket: string; readonly backend: string; readonly backendTcp: string }
  /** The URLs of a vhost, for browsers, for backends over ZeroMQ and over TCP. The last two hold the access token. */
  readonly urls: (vhost: Pick<Vhosts.Vhost, "path" | "token">) => {
    readonly websocket: string
    readonly backend: Redacted.Redacted
    readonly backendTcp: Redacted.Redacted
  }
}>()("kosmonaut/server/Broker") {}

/**
 * Why a broker cannot start.
 *
 * @since 0.1.0
 */
export type StartError =
  | ListenError
  | Store.StoreError
  | InvalidOptionError
  | InvalidVhostError
  | VhostExistsError
  | InvalidChannelNameError
  | InternalError

const make = Effect.gen(function*() {
  const { host } = yield* BrokerConfig.BrokerConfig
  const { port: websocketPort } = yield* WebSocketEndpoint.WebSocketEndpoint
  const { port: backendPort } = yield* BackendEndpoint.ZmqBackendEndpoint
  const { port: tcpPort } = yield* BackendEndpoint.TcpBackendEndpoint
  // Nobody can connect to an address that stands for all addresses.
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host
  return Broker.of({
    host,
    websocketPort,
    backendPort,
    tcpPort,
    addresses: {
      websocket: `ws://${reachable}:${websocketPort}`,
      backend: `wr://${reachable}:${backendPort}`,
      backendTcp: `wr+tcp://${reachable}:${tcpPort}`
    },
    urls: ({ path, token }) => {
      const backend = { host: reachable, vhost: path, token }
      return {
        websocket: `ws://${reachable}:${websocketPort}${path}`,
        backend: toUrl(new Endpoint({ ...backend, scheme: "wr", port: backendPort })),
        backendTcp: toUrl(new Endpoint({ ...backend, scheme: "wr+tcp", port: tcpPort }))
      }
    }
  })
})

/**
 * The broker, and `Vhosts`, the service to administer it with. With `storageDir` it is persisted in that folder
 * (`SqliteStore`), and otherwise in memory alone (`Store.layerNoop`).
 *
 * @since 0.1.0
 */
export const layer = (options: BrokerConfig.Options = {}): Layer.Layer<Broker | Vhosts.Vhosts, StartError> => {
  const { fsync, storageDir, ...others } = options
  return Layer.provide(
    layerNoStore(others),
    storageDir === undefined ? Store.layerNoop : SqliteStore.layer({ directory: storageDir, fsync })
  )
}

/**
 * The broker with the `Store` that you provide.
 *
 * @since 0.1.0
 */
export const layerNoStore = (
  options?: Omit<BrokerConfig.Options, "storageDir" | "fsync">
): Layer.Layer<Broker | Vhosts.Vhosts, StartError, Store.Store> =>
  Layer.effect(Broker, make).pipe(
    // Fresh parts: another broker in the same application has its own.
    Layer.provide([
      Layer.fresh(WebSocketEndpoint.layer),
      Layer.fresh(BackendEndpoint.layerZmq),
      Layer.fresh(BackendEndpoint.layerTcp)
    ]),
    Layer.merge(Layer.fresh(VhostViews.layer)),
    Layer.provide(Layer.fresh(Engine.layer)),
    Layer.provide(BrokerConfig.layer(options))
  )

/**
 * The broker, with options from configuration; by default all from the environment, see `BrokerConfig.environment`.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<BrokerConfig.Options> = BrokerConfig.environment
): Layer.Layer<Broker | Vhosts.Vhosts, StartError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
