/**
 * A broker with one vhost for tests: the real engine and the real rules, with a network in memory where sockets would be.
 *
 * A test of handlers runs on it in milliseconds, and under `TestClock` no real time passes: heartbeats, timeouts and
 * reconnecting go by the test's clock. Browsers are those of `kosmonaut/browser`, over memory. Every layer is a broker of its
 * own, so tests do not see each other. The network between backends and broker and that of the browsers have faults.
 *
 * The limits are those of a broker, but for two defaults: browsers may send as much as they like, since in a test whose
 * clock stands still all is sent in the same moment, and heartbeats are sent every minute, so that a clock that is
 * moved by a day has little to do.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Browser from "../browser/Browser.ts"
import * as Client from "../client/Client.ts"
import * as Worker from "../client/Worker.ts"
import { Endpoint, toUrl } from "../protocol/Endpoint.ts"
import type { InternalError, InvalidEndpointError, InvalidOptionError } from "../protocol/KosmonautError.ts"
import type { StartError } from "../server/Broker.ts"
import * as BrokerConfig from "../server/BrokerConfig.ts"
import * as BackendEndpoint from "../server/endpoint/BackendEndpoint.ts"
import * as TokenVerifier from "../server/endpoint/TokenVerifier.ts"
import * as Engine from "../server/engine/Vhosts.ts"
import * as VhostViews from "../server/engine/VhostViews.ts"
import * as Store from "../server/store/Store.ts"
import * as Vhosts from "../server/Vhosts.ts"
import type { Transport } from "../transport/Transport.ts"
import * as BrowserNetwork from "./internal/browserNetwork.ts"
import * as MemoryNetwork from "./MemoryNetwork.ts"
import * as TestBrowser from "./TestBrowser.ts"

/**
 * A broker under test.
 *
 * @since 0.1.0
 */
export class TestBroker extends Context.Service<TestBroker, {
  /** The vhost's URL with its token, for `Client.layer` and `Worker.layer` over the `Transport` of this layer. */
  readonly url: Redacted.Redacted
  /** The vhost itself: what it has and who is there. */
  readonly vhost: Vhosts.Vhost
  /**
   * A browser as front ends have it, the service of `kosmonaut/browser`, until the scope ends: its WebSocket is in memory, and its
   * timeouts and reconnecting go by the test's clock. With a `uid` it gets its tokens from the vhost. It does not wait for
   * the connection.
   */
  readonly browser: <E = never, R = never>(
    options?: BrowserOptions<E, R>
  ) => Effect.Effect<Browser.Browser["Service"], InvalidOptionError, R | Scope.Scope>
  /** The network between browsers and the broker, that of `browser`. */
  readonly browserNetwork: {
    /**
     * Cuts it: all connections end (1006), what is on its way is lost, and new connections are refused until `restore`. Members of
     * presence channels are gone when the clock has moved by the `grace` of the channel, 3 seconds by default.
     */
    readonly cut: Effect.Effect<void>
    /**
     * Silences it: connections stand, but nothing passes until `restore`, up to 10 000 messages a connection and direction. A
     * browser notices when the broker has not responded to its ping, by the test's clock.
     */
    readonly silence: Effect.Effect<void>
    /** Restores it. Browsers are back when their backoff, and so the clock, has come to it. */
    readonly restore: Effect.Effect<void>
    /** Ends all connections by this close code, default 1006. New ones are accepted. */
    readonly disconnect: (code?: number) => Effect.Effect<void>
  }
  /**
   * A browser without the library, until the scope ends: it sends and receives messages of the protocol, one by one. With a
   * `uid` it is authenticated at once, with a single access token that the vhost issues; a pattern that does not compile
   * fails with `InternalError`.
   */
  readonly rawBrowser: (
    options?: User
  ) => Effect.Effect<TestBrowser.TestBrowser, InternalError | TestBrowser.SendError, Scope.Scope>
  /**
   * Cuts the network: all connections of backends end, and new ones are refused. A Client retries, see its option `retry`,
   * by the test's clock.
   */
  readonly cut: Effect.Effect<void>
  /**
   * Silences the network: connections stand, but nothing passes. What is sent is held until `restore`; `cut` loses it.
   * A Client's request makes a new connection, which gets no answer: after 5 seconds, the `openTimeout`, it fails with
   * `ConnectionError`, `ConnectionRefusedError`, and the Client retries, see its option `retry`.
   * A worker that is stopped meanwhile waits for the broker's response to its `QT`, for its `drainTimeout`.
   */
  readonly silence: Effect.Effect<void>
  /** Restores the network. Workers reconnect when the clock has reached the next attempt of their schedule. */
  readonly restore: Effect.Effect<void>
  /**
   * Lets all workers time out: silences the network, and moves the test's clock until the broker has expired them, by
   * default 4 minutes. Events that are triggered then are queued. The network stays silent until `restore`. It needs
   * `TestClock`, which `it.effect` provides; without one it dies.
   */
  readonly expireWorkers: Effect.Effect<void>
}>()("kosmonaut/testing/TestBroker") {}

/**
 * Who a browser is.
 *
 * @since 0.1.0
 */
export interface User {
  /** The user that it authenticates as. */
  readonly uid: string
  /** The private and presence channels it may join, RE2 syntax over whole names, default `.*`: all. */
  readonly pattern?: string | undefined
}

/**
 * Who a browser is, and its options. A `token` of your own is used instead of the vhost's.
 *
 * @since 0.1.0
 */
export interface BrowserOptions<out E = unknown, out R = never>
  extends Partial<User>, Omit<Browser.Options<E, R>, "url">
{}

/**
 * The options of a broker under test: its vhost, and everything of `BrokerConfig.Options` that is not about sockets.
 *
 * @since 0.1.0
 */
export interface Options extends Omit<BrokerConfig.Options, SocketOptions> {
  /** The vhost's path, default `/test`. */
  readonly path?: string | undefined
  /** The vhost's access token, default `defaultToken`. */
  readonly token?: string | Redacted.Redacted | undefined
  /** Channels that are open from the start, default none. */
  readonly channels?: ReadonlyArray<string> | undefined
  /** What the broker persists in, default nothing. With `Store.layerMemory` the next broker of the layer goes on with it. */
  readonly store?: Layer.Layer<Store.Store, Store.StoreError> | undefined
  /** How long `received` of a browser waits, in real time, default 3 seconds. */
  readonly receiveTimeout?: Duration.Input | undefined
}

type SocketOptions = "host" | "websocketPort" | "backendPort" | "tcpPort" | "vhosts" | "storageDir" | "fsync"

/**
 * The options of a broker under test, and of its Client and Worker. The URL is the broker's.
 *
 * @since 0.1.0
 */
export interface BackendOptions extends Options {
  readonly client?: Omit<Client.Options, "url"> | undefined
  readonly worker?: Omit<Worker.Options, "url"> | undefined
}

/**
 * The access token of the vhost, unless the options have another. It is no secret.
 *
 * @since 0.1.0
 */
export const defaultToken = "0123456789abcdef0123456789abcdef01234567"

const make = Effect.fnUntraced(function*(options: Options) {
  const config = yield* BrokerConfig.BrokerConfig
  const network = yield* MemoryNetwork.MemoryNetwork
  const vhosts = yield* Vhosts.Vhosts
  const { channels, path = "/test", receiveTimeout, token = defaultToken } = options
  const vhost = yield* vhosts.add({ path, token, channels })
  const { port } = yield* BackendEndpoint.make(network.listen, config.backendPort)
  const browsers = yield* BrowserNetwork.make(VhostViews.ofView(vhost))
  // Whatever state the network is in, all connections see the end of the broker.
  yield* Effect.addFinalizer(() => network.restore)
  return TestBroker.of({
    url: toUrl(new Endpoint({ scheme: "wr", host: config.host, port, vhost: path, token: vhost.token })),
    vhost,
    browser: <E = never, R = never>({ pattern = ".*", token, uid, ...rest }: BrowserOptions<E, R> = {}) => {
      const issued = uid === undefined ? undefined : vhost.issueToken(uid, pattern)
      return Browser.make<E | InternalError, R>({ ...rest, token: token ?? issued, url: `ws://memory${path}` }).pipe(
        Effect.provideService(Browser.WebSocketConstructor, browsers.open)
      )
    },
    browserNetwork: { ...browsers, disconnect: (code = 1006) => browsers.disconnect(code) },
    rawBrowser: Effect.fnUntraced(function*(options) {
      const browser = yield* TestBrowser.make(vhost, { receiveTimeout })
      if (options !== undefined) {
        const issued = yield* vhost.issueToken(options.uid, options.pattern ?? ".*")
        yield* browser.authenticate(issued)
      }
      return browser
    }),
    cut: network.cut,
    silence: network.silence,
    restore: network.restore,
    expireWorkers: Effect.andThen(
      network.silence,
      // At the latest the last heartbeat came now, and the broker looks once in every interval.
      adjust(Duration.times(config.heartbeat.interval, config.heartbeat.maxMissed + 1))
    )
  })
})

/**
 * A broker under test, and the `Transport` by which Clients and Workers reach it at its `url`.
 *
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<TestBroker | Transport | MemoryNetwork.MemoryNetwork | Vhosts.Vhosts, StartError> =>
  Layer.effect(TestBroker, make(options)).pipe(
    // Its own, also where several brokers are built at once.
    Layer.provideMerge(Layer.fresh(VhostViews.layer)),
    Layer.provide(Layer.fresh(Engine.layer)),
    Layer.provide(Layer.fresh(TokenVerifier.layer)),
    Layer.provide(options.store ?? Store.layerNoop),
    Layer.provide(BrokerConfig.layer(forTests(options))),
    Layer.provideMerge(MemoryNetwork.layer(options))
  )

/**
 * The usual one: a broker under test, with a Client and a Worker of its vhost.
 *
 * @example
 * ```ts
 * import { assert, it } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { Client, Worker } from "kosmonaut"
 * import { TestBroker } from "kosmonaut/testing"
 *
 * // What is to be tested: it broadcasts to the room what a browser triggers.
 * const chat = Effect.gen(function*() {
 *   const client = yield* Client.Client
 *   const worker = yield* Worker.Worker
 *   return yield* worker.listen({
 *     onMessage: ({ data }) => client.broadcast("room", "said", { text: data["text"] })
 *   })
 * })
 *
 * it.effect("broadcasts to the room what a browser triggers", () =>
 *   Effect.gen(function*() {
 *     const broker = yield* TestBroker.TestBroker
 *     yield* Effect.forkScoped(chat)
 *     const ann = yield* broker.browser()
 *     yield* ann.subscribe("room")
 *     const joe = yield* broker.browser({ uid: "joe" })
 *     yield* joe.trigger("say", { text: "hello" })
 *     assert.deepStrictEqual(yield* ann.received("said"), { text: "hello", channel: "room" })
 *   }).pipe(Effect.provide(TestBroker.layerBackend({ channels: ["room"] }))))
 * ```
 *
 * @since 0.1.0
 */
export const layerBackend = (options: BackendOptions = {}): Layer.Layer<
  Layer.Success<ReturnType<typeof layer>> | Client.Client | Worker.Worker,
  StartError | InvalidEndpointError
> =>
  Layer.unwrap(
    Effect.map(TestBroker, ({ url, vhost }) => {
      const { heartbeat } = VhostViews.ofView(vhost).config
      // The broker is the first to give up, as it is with the defaults of both.
      const silenceTimeout = Duration.times(heartbeat.interval, heartbeat.maxMissed + 2)
      const worker = { heartbeatInterval: heartbeat.interval, silenceTimeout, ...options.worker, url }
      return Layer.mergeAll(Client.layer({ ...options.client, url }), Worker.layer(worker))
    })
  ).pipe(
    Layer.provideMerge(layer(options))
  )

// A test that moves its clock by a day would otherwise have 172 800 heartbeats, and one whose clock stands still would soon
// have sent too much in that moment.
const forTests = (
  {
    channels: _,
    client: _client,
    path: _path,
    receiveTimeout: _timeout,
    store: _store,
    token: _token,
    worker: _worker,
    ...options
  }: BackendOptions
): BrokerConfig.Options => ({
  ...options,
  heartbeat: { interval: "1 minute", ...options.heartbeat },
  browsers: { messageRate: Infinity, byteRate: Infinity, ...options.browsers },
  host: "memory"
})

// A clock that cannot be moved would have to be waited for.
const adjust = (duration: Duration.Duration): Effect.Effect<void> =>
  Clock.clockWith((clock) =>
    "adjust" in clock
      ? TestClock.adjust(duration)
      : Effect.die(new Error("TestBroker.expireWorkers needs TestClock, which it.effect provides"))
  )
