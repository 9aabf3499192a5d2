/**
 * A whole broker in one layer: vhosts, and the endpoints for browsers and backends.
 *
 * When the layer is built, all ports are bound. When its scope ends, browsers are closed with 1001, which means reconnect, spread
 * over `drainTime`. Then workers are dismissed (`QT`), and all ports are free again. Whatever browsers do, that takes `drainTime`
 * and `shutdownTimeout` at most.
 *
 * With `redis` the broker is a node of a cluster: all brokers with the same Redis are one, see `redis.url` in `BrokerConfig`.
 *
 * With `storageDir` the broker restores what the last one has persisted, also if that one crashed. What is persisted, and when,
 * is in `docs/guide/12-running-the-broker.md`.
 *
 * If there is a tracer when the layer is built, each request of a Client has a span, `Broker.<command>`, below the
 * Client's, and each trigger of a browser one, `Broker.trigger`, below the browser's if that sends one. Metrics are in `BrokerMetrics`.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Os from "node:os"
import { Endpoint, toUrl } from "../protocol/Endpoint.ts"
import type { InternalError, InvalidChannelNameError } from "../protocol/KosmonautError.ts"
import type { ListenError } from "../transport/TransportServer.ts"
import { Admin, type Bound } from "./admin/Admin.ts"
import { version } from "./admin/Version.ts"
import * as BrokerConfig from "./BrokerConfig.ts"
import {
  InvalidOptionError,
  type InvalidVhostError,
  type RedisCommandError,
  type RedisConnectionError,
  type UnsuitableRedisError,
  type VhostExistsError
} from "./BrokerError.ts"
import * as Restarting from "./cluster/Restarting.ts"
import * as BackendEndpoint from "./endpoint/BackendEndpoint.ts"
import * as Certificate from "./endpoint/Certificate.ts"
import * as ServerKey from "./endpoint/ServerKey.ts"
import * as TokenVerifier from "./endpoint/TokenVerifier.ts"
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
  /** Its public key for `wrs://`, 64 hexadecimal digits; `undefined` if it has none. */
  readonly serverKey: string | undefined
  /** The admin endpoint; `undefined` if `admin.port` is `"off"`. */
  readonly admin: Bound | undefined
  /**
   * Its base addresses, without vhost and token: `ws://…` and `wr+tcp://…` or, if it has a certificate, `wss://…` and `wrs+tcp://…`;
   * `wr://…` or, if it has a key, `wrs://…`; and `http://…` for administrators.
   */
  readonly addresses: {
    readonly websocket: string
    readonly backend: string
    readonly backendTcp: string
    readonly admin?: string
  }
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
  | RedisConnectionError
  | RedisCommandError
  | UnsuitableRedisError
  | InvalidVhostError
  | VhostExistsError
  | InvalidChannelNameError
  | InternalError

const make = Effect.gen(function*() {
  const { host } = yield* BrokerConfig.BrokerConfig
  const { drain, port: websocketPort, prefix, scheme } = yield* WebSocketEndpoint.WebSocketEndpoint
  const { port: backendPort } = yield* BackendEndpoint.ZmqBackendEndpoint
  const { port: tcpPort } = yield* BackendEndpoint.TcpBackendEndpoint
  const { publicKey: serverKey } = yield* ServerKey.ServerKey
  const { decrypt } = yield* Certificate.Certificate
  const { bound: admin } = yield* Admin
  // The first thing at the end: administrators and backends are there for as long as browsers leave.
  yield* Effect.addFinalizer(() => drain)
  const backendScheme = serverKey === undefined ? "wr" : "wrs"
  const tcpScheme = decrypt === undefined ? "wr+tcp" : "wrs+tcp"
  const reachable = reachableOf(host)
  const websocket = `${scheme}://${reachable}:${websocketPort}${prefix}`
  return Broker.of({
    host,
    websocketPort,
    backendPort,
    tcpPort,
    serverKey,
    admin,
    addresses: {
      websocket,
      backend: `${backendScheme}://${reachable}:${backendPort}`,
      backendTcp: `${tcpScheme}://${reachable}:${tcpPort}`,
      ...admin && { admin: admin.address }
    },
    urls: ({ path, token }) => {
      const backend = { host: reachable, vhost: path, token }
      return {
        websocket: `${websocket}${path}`,
        backend: toUrl(new Endpoint({ ...backend, scheme: backendScheme, port: backendPort, serverKey })),
        backendTcp: toUrl(new Endpoint({ ...backend, scheme: tcpScheme, port: tcpPort }))
      }
    }
  })
})

// Nobody can connect to an address that stands for all addresses.
const reachableOf = (host: string): string =>
  host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host

/**
 * The broker, and `Vhosts`, the service to administer it with. With `storageDir` it is persisted in that folder
 * (`SqliteStore`), with `redis` in that Redis, and otherwise in memory alone (`Store.layerNoop`).
 *
 * A node of a cluster that has lost its lease ends by itself, and starts anew on the same ports (`Restarting`).
 *
 * @since 0.1.0
 */
export const layer = (options: BrokerConfig.Options = {}): Layer.Layer<Broker | Vhosts.Vhosts, StartError> =>
  layerWith(WebSocketEndpoint.layer, options)

// Alone with its store, or a node of a cluster.
const layerWith = <R>(browsers: Browsers<R>, options: BrokerConfig.Options) => {
  const url = options.redis?.url
  return url === undefined
    ? alone(browsers, options).pipe(Layer.provide(storeOf(options)))
    : Restarting.layer((first: Context.Context<Broker> | undefined) => node(browsers, bound(options, first), url))
}

// As what was built first, so that it is reached where that was.
const bound = (options: BrokerConfig.Options, first: Context.Context<Broker> | undefined): BrokerConfig.Options =>
  first === undefined ? options : BrokerConfig.merge(options, boundOf(Context.get(first, Broker)))

const boundOf = ({ admin, backendPort, tcpPort, websocketPort }: Broker["Service"]): BrokerConfig.Options => ({
  websocketPort,
  backendPort,
  tcpPort,
  ...admin && { admin: { port: admin.port, cookie: admin.cookie } }
})

/**
 * The broker with the `Store` that you provide; `storageDir` and `fsync` are ignored. It cannot be a node of a cluster, whose nodes
 * have nothing but Redis in common: `redis.url` is an `InvalidOptionError`.
 *
 * @since 0.1.0
 */
export const layerNoStore = (
  options: BrokerConfig.Options = {}
): Layer.Layer<Broker | Vhosts.Vhosts, StartError, Store.Store> =>
  options.redis?.url === undefined
    ? alone(WebSocketEndpoint.layer, options)
    : Layer.effectContext<Broker | Vhosts.Vhosts, InvalidOptionError, never>(Effect.fail(notHere))

const notHere = new InvalidOptionError({
  option: "redis.url",
  value: "given",
  allowed: "left out with a store of your own: what a cluster has is in Redis"
})

/**
 * The broker on the HTTP server of your application, which must be one of Node.js: browsers come in beside your routes, and
 * `websocketPort` is ignored. The vhost `/chat` is at `/chat`, or with the `prefix` `/live` at `/live/chat`, and the script for
 * browsers at `/kosmonaut.js` or `/live/kosmonaut.js`. Backends have their ports as always. While a node of a cluster starts anew,
 * browsers get 503 there.
 *
 * @since 0.1.0
 */
export const layerHttp = (
  { prefix, ...options }: BrokerConfig.Options & { readonly prefix?: `/${string}` | undefined } = {}
): Layer.Layer<Broker | Vhosts.Vhosts, StartError, HttpRouter.HttpRouter | HttpServer.HttpServer> =>
  // Built first, since restoring takes time.
  Layer.provide(layerWith(WebSocketEndpoint.layerHttp, options), WebSocketEndpoint.layerServer({ prefix }))

const admin = Layer.unwrap(Effect.gen(function*() {
  const { admin: { port }, host } = yield* BrokerConfig.BrokerConfig
  const browsers = yield* WebSocketEndpoint.WebSocketEndpoint
  return port === "off"
    ? Layer.succeed(Admin, { bound: undefined })
    // Loaded only where there is one: it needs more of Effect's HTTP than the rest.
    : (yield* Effect.promise(() => import("./admin/AdminEndpoint.ts"))).layer({
      port,
      probe: `${browsers.scheme === "wss" ? "https" : "http"}://${
        reachableOf(host)
      }:${browsers.port}${browsers.prefix}/kosmonaut.js`,
      isDraining: browsers.isDraining
    })
}))

const storeOf = (
  { fsync, redis, storageDir }: BrokerConfig.Options
): Layer.Layer<Store.Store, Store.StoreError | InvalidOptionError> =>
  storageDir === undefined
    ? Store.layerNoop
    : redis?.url === undefined
    ? SqliteStore.layer({ directory: storageDir, fsync })
    : Layer.effect(Store.Store, Effect.fail(storageInCluster(storageDir)))

const storageInCluster = (storageDir: string) =>
  new InvalidOptionError({
    option: "storageDir",
    value: JSON.stringify(storageDir),
    allowed: "left out together with redis.url: what a cluster has is in Redis"
  })

type Browsers<R> = Layer.Layer<
  WebSocketEndpoint.WebSocketEndpoint,
  ListenError | InvalidOptionError,
  R | Certificate.Certificate
>

const partsWith = <R>(browsers: Browsers<R>) =>
  Layer.effect(Broker, make).pipe(
    // Built last, so that it is gone first.
    Layer.provide(Layer.fresh(admin)),
    // Fresh parts: another broker in the same application has its own.
    Layer.provide([
      Layer.fresh(browsers),
      Layer.fresh(BackendEndpoint.layerZmq),
      Layer.fresh(BackendEndpoint.layerTcp)
    ]),
    Layer.provideMerge(Layer.fresh(VhostViews.layer)),
    Layer.provide([Layer.fresh(Engine.layer), Layer.fresh(Certificate.layer), Layer.fresh(ServerKey.layer)]),
    Layer.provide(Layer.fresh(TokenVerifier.layer))
  )

const alone = <R>(browsers: Browsers<R>, options: BrokerConfig.Options) =>
  Layer.provide(partsWith(browsers), BrokerConfig.layer(options))

// Its services are loaded only where there is one.
const node = <R>(browsers: Browsers<R>, options: BrokerConfig.Options, url: string | Redacted.Redacted) => {
  const cluster = Layer.unwrap(Effect.gen(function*() {
    const { nodeName = Os.hostname() } = yield* BrokerConfig.BrokerConfig
    const { layer } = yield* Effect.promise(() => import("./cluster/RedisCluster.ts"))
    return layer({ url: Redacted.isRedacted(url) ? url : Redacted.make(url), name: nodeName, version })
  }))
  return partsWith(browsers).pipe(
    Layer.provideMerge(Layer.fresh(cluster)),
    Layer.provide([BrokerConfig.layer(options), storeOf(options)])
  )
}

/**
 * The broker, with options from configuration; by default all from the environment, see `BrokerConfig.environment`.
 *
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<BrokerConfig.Options> = BrokerConfig.environment
): Layer.Layer<Broker | Vhosts.Vhosts, StartError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
