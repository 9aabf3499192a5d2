/**
 * The options of a broker, and their defaults.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { defaultMaxMessageSize } from "../protocol/Frame.ts"
import { InvalidOptionError } from "./BrokerError.ts"

/**
 * A vhost that a broker has from its start.
 *
 * @since 0.1.0
 */
export interface VhostOptions {
  /** Its path, `/` and words: `/chat`, `/eu/chat`. */
  readonly path: string
  /** Its access token, 40 letters, digits or `_`; a random one where absent. */
  readonly token?: string | Redacted.Redacted | undefined
  /** Channels that are open from the start. */
  readonly channels?: ReadonlyArray<string> | undefined
}

/**
 * The options. Each has a default, see `defaults`.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The address to bind, default `127.0.0.1`: this machine alone. */
  readonly host?: string | undefined
  /** Where browsers connect, default 8080; 0 picks a free port. */
  readonly websocketPort?: number | undefined
  /** Where backends connect over ZeroMQ, default 8081; 0 picks a free port. */
  readonly backendPort?: number | undefined
  /** Where backends connect over classic TCP, default 8083; 0 picks a free port. */
  readonly tcpPort?: number | undefined
  /** The vhosts to begin with, default none. */
  readonly vhosts?: ReadonlyArray<VhostOptions> | undefined
  /** The vhost to begin with if there is no other: neither one in `vhosts` nor a restored one. Default none. */
  readonly defaultVhost?: VhostOptions | undefined
  /**
   * The folder of the broker's persistent storage, see `SqliteStore`; it is created if it does not exist. Default none:
   * everything is in memory and lost when the broker ends.
   */
  readonly storageDir?: string | undefined
  /**
   * Whether what counts as stored is on the disk, default no: it outlasts the broker's process, however that ends, but the
   * last moments may be lost with the machine's power.
   */
  readonly fsync?: boolean | undefined
  /** The largest message in bytes, of a browser or a backend, default 1 MiB. A larger one ends its connection. */
  readonly maxMessageSize?: number | undefined
  /**
   * How many bytes may be queued for a browser that does not read, including the overhead of each message, default
   * 4 MiB. Beyond it the browser is disconnected, 1013.
   */
  readonly outboxSize?: number | undefined
  /**
   * How many bytes may be queued for all browsers that do not read together, those of a broadcast counted once; default and at
   * most a quarter of the memory that the process may have. Beyond it the browser that has not read for longest is
   * disconnected, 1013.
   */
  readonly totalOutboxSize?: number | undefined
  /** How many bytes may be queued for a backend that does not read, default 16 MiB. Beyond it nothing is sent to it. */
  readonly backendOutboxSize?: number | undefined
  /** How many connections of backends there may be, default 4096. Beyond it new ones are closed at once. */
  readonly maxBackends?: number | undefined
  /**
   * How often a browser is pinged, default 25 seconds. One that has sent nothing since the last ping, not even the answer to
   * it, is gone: its connection is closed, and it leaves its channels.
   */
  readonly pingInterval?: Duration.Input | undefined
  /** How often heartbeats are sent to workers and expected from them, default 500 milliseconds, at least 10. */
  readonly heartbeatInterval?: Duration.Input | undefined
  /** After how many intervals without a heartbeat a worker times out, default 3. */
  readonly missedHeartbeats?: number | undefined
  /** How many events of a vhost may be queued or unacked, default 10 000. Beyond it triggers are rejected, 597. */
  readonly queueCapacity?: number | undefined
  /** How many bytes these events may have together, default 64 MiB. Beyond it triggers are rejected, 597. */
  readonly queueSize?: number | undefined
  /**
   * How often the delivery of an event may end without ack, nack or release, because its worker crashed or expired; default
   * 10. Then the event becomes a dead letter, so that one that kills its workers does not kill them all.
   */
  readonly maxDeliveries?: number | undefined
  /**
   * How long an event waits before it is redelivered after its handler failed, default 200 milliseconds; the pause doubles
   * with each further failure, up to 64 times this. Other events pass it meanwhile.
   */
  readonly redeliveryBackoff?: Duration.Input | undefined
  /**
   * Whether browsers may broadcast on the channels that they are on, default no: they are answered 403, and whatever a
   * browser receives was sent by a backend. The original lets every browser broadcast.
   */
  readonly browsersBroadcast?: boolean | undefined
  /**
   * The pages that may connect, by their `Origin`: `https://example.com`, `null` for pages without one, `*` for all. Default
   * none: then a browser may connect if its page comes from the same host name as the broker, whatever the port. Programs
   * that send no `Origin` may always connect.
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /**
   * Addresses or networks (`10.0.0.0/8`) of reverse proxies whose `X-Forwarded-For` says where a browser connects from.
   * Default this machine: `127.0.0.0/8` and `::1/128`.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
  /**
   * How many browsers may be connected, default no limit but the file descriptors that the process may have, of which a
   * tenth is kept for everything else. Beyond it browsers are refused, 1013 or HTTP 503.
   */
  readonly maxBrowsers?: number | undefined
  /** How many browsers a vhost may have, default no limit of its own. Beyond it browsers are refused, 1013 or HTTP 503. */
  readonly maxBrowsersPerVhost?: number | undefined
  /**
   * How many browsers may be connected from one address (of IPv6 one /64 network), default 1000. Beyond it browsers are
   * refused, 1013 or HTTP 429. Those of a trusted proxy that does not say where they come from do not count.
   */
  readonly maxBrowsersPerAddress?: number | undefined
  /**
   * How long a browser may stay connected before it has authenticated, default `Infinity`: browsers on normal channels need
   * no token. Beyond it the browser is disconnected, 1008.
   */
  readonly authenticationTimeout?: Duration.Input | undefined
  /**
   * How many messages a second a browser may send, default 200, with bursts of five seconds' worth. Beyond it messages are
   * answered 429 and not carried out, and a browser that goes on is disconnected, 1013. `unsubscribe` and `close` always
   * pass.
   */
  readonly browserMessageRate?: number | undefined
  /** How many bytes a second a browser may send, default 1 MiB, with bursts of five seconds' worth. Beyond it as above. */
  readonly browserByteRate?: number | undefined
  /** How many subscriptions a browser may have, default 1000. Beyond it subscribing is rejected, 429. */
  readonly maxSubscriptions?: number | undefined
  /** How many requests of a browser may be without a response, default 100. Beyond it they are rejected, 429. */
  readonly maxRequests?: number | undefined
  /**
   * How many bytes these may have together, with 1 KiB for each; default 4 MiB. Beyond it they are rejected, 429. One request
   * is always accepted.
   */
  readonly browserRequestSize?: number | undefined
  /** How many dead letters a vhost has at most, default 1000. Beyond it the oldest are dropped, and counted. */
  readonly deadLetterCapacity?: number | undefined
  /** How many bytes of memory these may have together, default 16 MiB. Beyond it the oldest are dropped, and counted. */
  readonly deadLetterSize?: number | undefined
  /** How long lifecycle events are queued while no worker takes them, default 1 minute; then they are dropped. */
  readonly lifecycleRetention?: Duration.Input | undefined
  /** How many bytes of JSON the `data` of a `subscribe` may have, default 4096. Beyond it 400. */
  readonly memberDataSize?: number | undefined
  /** How many bytes the `data` of all subscriptions of one browser may have together, default 64 KiB. Beyond it 429. */
  readonly browserDataSize?: number | undefined
  /**
   * How many bytes the list of subscribers in a presence channel's `:subscribed` may have, default 256 KiB. A longer list is
   * truncated, and says so.
   */
  readonly presenceListSize?: number | undefined
  /** How many channels a vhost can have, default 100 000. Beyond it opening fails with 597. */
  readonly maxChannels?: number | undefined
  /** How many unused single access tokens a vhost may have, default 100 000. Beyond it requests fail with 597. */
  readonly maxAccessTokens?: number | undefined
  /** How long an unused single access token is valid, default 1 hour. */
  readonly accessTokenTimeToLive?: Duration.Input | undefined
  /**
   * How many responses of a vhost are cached for retries, default 100 000: the last 4096 of each connection or 1 MiB of them,
   * and 64 MiB in all. Beyond it the connection that was idle for longest loses its responses; its retries are then rejected,
   * and not executed twice.
   */
  readonly idempotencyCapacity?: number | undefined
  /** How long they are cached after the last request of a connection, default 5 minutes. */
  readonly idempotencyRetention?: Duration.Input | undefined
  /**
   * How long the end of the broker may take, default 5 seconds. What browsers and backends have not read by then is lost to
   * them, and their connections are destroyed.
   */
  readonly shutdownTimeout?: Duration.Input | undefined
}

/**
 * The options, complete.
 *
 * @since 0.1.0
 */
export type Resolved = {
  readonly [Key in keyof Options]-?: Key extends
    | "pingInterval"
    | "heartbeatInterval"
    | "lifecycleRetention"
    | "accessTokenTimeToLive"
    | "redeliveryBackoff"
    | "authenticationTimeout"
    | "shutdownTimeout"
    | "idempotencyRetention" ? Duration.Duration
    : Key extends "storageDir" | "defaultVhost" ? Options[Key]
    : NonNullable<Options[Key]>
}

/**
 * The defaults.
 *
 * @since 0.1.0
 */
export const defaults: Resolved = {
  host: "127.0.0.1",
  websocketPort: 8080,
  backendPort: 8081,
  tcpPort: 8083,
  vhosts: [],
  defaultVhost: undefined,
  storageDir: undefined,
  fsync: false,
  maxMessageSize: defaultMaxMessageSize,
  outboxSize: 4 * 1_048_576,
  totalOutboxSize: Infinity,
  backendOutboxSize: 16 * 1_048_576,
  maxBackends: 4096,
  pingInterval: Duration.seconds(25),
  heartbeatInterval: Duration.millis(500),
  missedHeartbeats: 3,
  queueCapacity: 10_000,
  queueSize: 64 * 1_048_576,
  maxDeliveries: 10,
  redeliveryBackoff: Duration.millis(200),
  browsersBroadcast: false,
  origins: [],
  trustedProxies: ["127.0.0.0/8", "::1/128"],
  maxBrowsers: Infinity,
  maxBrowsersPerVhost: Infinity,
  maxBrowsersPerAddress: 1000,
  authenticationTimeout: Duration.infinity,
  browserMessageRate: 200,
  browserByteRate: 1_048_576,
  maxSubscriptions: 1000,
  maxRequests: 100,
  browserRequestSize: 4 * 1_048_576,
  deadLetterCapacity: 1000,
  deadLetterSize: 16 * 1_048_576,
  lifecycleRetention: Duration.minutes(1),
  memberDataSize: 4096,
  browserDataSize: 65_536,
  presenceListSize: 262_144,
  maxChannels: 100_000,
  maxAccessTokens: 100_000,
  accessTokenTimeToLive: Duration.hours(1),
  idempotencyCapacity: 100_000,
  idempotencyRetention: Duration.minutes(5),
  shutdownTimeout: Duration.seconds(5)
}

/**
 * A broker's configuration, complete.
 *
 * @since 0.1.0
 */
export class BrokerConfig extends Context.Service<BrokerConfig, Resolved>()("kosmonaut/server/BrokerConfig") {}

/**
 * Completes options with the defaults.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): BrokerConfig["Service"] => ({
  host: options.host ?? defaults.host,
  websocketPort: options.websocketPort ?? defaults.websocketPort,
  backendPort: options.backendPort ?? defaults.backendPort,
  tcpPort: options.tcpPort ?? defaults.tcpPort,
  // Whoever prints a vhost, and its configuration with it, prints no token.
  vhosts: (options.vhosts ?? defaults.vhosts).map((vhost) =>
    typeof vhost.token === "string" ? { ...vhost, token: Redacted.make(vhost.token) } : vhost
  ),
  defaultVhost: options.defaultVhost ?? defaults.defaultVhost,
  storageDir: options.storageDir ?? defaults.storageDir,
  fsync: options.fsync ?? defaults.fsync,
  maxMessageSize: options.maxMessageSize ?? defaults.maxMessageSize,
  outboxSize: options.outboxSize ?? defaults.outboxSize,
  totalOutboxSize: options.totalOutboxSize ?? defaults.totalOutboxSize,
  backendOutboxSize: options.backendOutboxSize ?? defaults.backendOutboxSize,
  maxBackends: options.maxBackends ?? defaults.maxBackends,
  pingInterval: interval(options.pingInterval ?? defaults.pingInterval),
  heartbeatInterval: interval(options.heartbeatInterval ?? defaults.heartbeatInterval),
  missedHeartbeats: options.missedHeartbeats ?? defaults.missedHeartbeats,
  queueCapacity: options.queueCapacity ?? defaults.queueCapacity,
  queueSize: options.queueSize ?? defaults.queueSize,
  maxDeliveries: options.maxDeliveries ?? defaults.maxDeliveries,
  redeliveryBackoff: Duration.fromInputUnsafe(options.redeliveryBackoff ?? defaults.redeliveryBackoff),
  browsersBroadcast: options.browsersBroadcast ?? defaults.browsersBroadcast,
  origins: options.origins ?? defaults.origins,
  trustedProxies: options.trustedProxies ?? defaults.trustedProxies,
  maxBrowsers: options.maxBrowsers ?? defaults.maxBrowsers,
  maxBrowsersPerVhost: options.maxBrowsersPerVhost ?? defaults.maxBrowsersPerVhost,
  maxBrowsersPerAddress: options.maxBrowsersPerAddress ?? defaults.maxBrowsersPerAddress,
  authenticationTimeout: Duration.fromInputUnsafe(options.authenticationTimeout ?? defaults.authenticationTimeout),
  browserMessageRate: options.browserMessageRate ?? defaults.browserMessageRate,
  browserByteRate: options.browserByteRate ?? defaults.browserByteRate,
  maxSubscriptions: options.maxSubscriptions ?? defaults.maxSubscriptions,
  maxRequests: options.maxRequests ?? defaults.maxRequests,
  browserRequestSize: options.browserRequestSize ?? defaults.browserRequestSize,
  deadLetterCapacity: options.deadLetterCapacity ?? defaults.deadLetterCapacity,
  deadLetterSize: options.deadLetterSize ?? defaults.deadLetterSize,
  lifecycleRetention: Duration.fromInputUnsafe(options.lifecycleRetention ?? defaults.lifecycleRetention),
  memberDataSize: options.memberDataSize ?? defaults.memberDataSize,
  browserDataSize: options.browserDataSize ?? defaults.browserDataSize,
  presenceListSize: options.presenceListSize ?? defaults.presenceListSize,
  maxChannels: options.maxChannels ?? defaults.maxChannels,
  maxAccessTokens: options.maxAccessTokens ?? defaults.maxAccessTokens,
  accessTokenTimeToLive: Duration.fromInputUnsafe(options.accessTokenTimeToLive ?? defaults.accessTokenTimeToLive),
  idempotencyCapacity: options.idempotencyCapacity ?? defaults.idempotencyCapacity,
  idempotencyRetention: Duration.fromInputUnsafe(options.idempotencyRetention ?? defaults.idempotencyRetention),
  shutdownTimeout: Duration.fromInputUnsafe(options.shutdownTimeout ?? defaults.shutdownTimeout)
})

// An interval of 0 would tick without a pause.
const interval = (input: Duration.Input): Duration.Duration =>
  Duration.max(Duration.fromInputUnsafe(input), Duration.millis(10))

/**
 * The configuration as a layer. It fails if an option is invalid; ports and vhosts are checked where they are used.
 *
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<BrokerConfig, InvalidOptionError> =>
  Layer.effect(BrokerConfig, Effect.map(check(options), () => make(options)))

const check = (options: Options): Effect.Effect<void, InvalidOptionError> =>
  Effect.forEach(rules, ([option, { allowed, allows }]) => {
    const value: unknown = options[option]
    return value === undefined || allows(value)
      ? Effect.void
      : Effect.fail(new InvalidOptionError({ option, value: textOf(value), allowed }))
  }, { discard: true })

/** The values of an option that its type does not describe. */
interface Rule {
  readonly allows: (value: unknown) => boolean
  readonly allowed: string
}

const text: Rule = { allows: (value) => value !== "", allowed: "a text that is not empty" }
const number = (allows: (value: number) => boolean, allowed: string): Rule => ({
  allows: (value) => typeof value === "number" && allows(value),
  allowed
})
const bound = number((value) => value >= 0, "a number, 0 or more; Infinity is no bound")
const rate = number((value) => value > 0, "a number above 0; Infinity is no bound")
const duration = (most: number, allowed: string): Rule => ({
  allows: (value) => {
    const millis = Number.isNaN(value) ? -1 : Option.match(Duration.fromInput(value as Duration.Input), {
      onNone: () => -1,
      onSome: Duration.toMillis
    })
    return millis >= 0 && millis <= most
  },
  allowed
})
const time = duration(Infinity, "a duration that is not negative")

const rules = Object.entries(
  {
    host: text,
    storageDir: text,
    maxMessageSize: number((value) => Number.isSafeInteger(value) && value > 0, "a whole number, 1 or more"),
    missedHeartbeats: number((value) => value >= 1 && Number.isFinite(value), "a number, 1 or more"),
    heartbeatInterval: duration(86_400_000, "a duration of at most a day"),
    pingInterval: time,
    lifecycleRetention: time,
    accessTokenTimeToLive: time,
    idempotencyRetention: time,
    redeliveryBackoff: time,
    authenticationTimeout: time,
    shutdownTimeout: time,
    maxDeliveries: number((value) => value >= 1, "a number, 1 or more; Infinity is no bound"),
    browserMessageRate: rate,
    browserByteRate: rate,
    maxBrowsers: bound,
    maxBrowsersPerVhost: bound,
    maxBrowsersPerAddress: bound,
    maxSubscriptions: bound,
    maxRequests: bound,
    browserRequestSize: bound,
    browserDataSize: bound,
    presenceListSize: bound,
    backendOutboxSize: bound,
    maxBackends: bound,
    outboxSize: bound,
    totalOutboxSize: bound,
    queueCapacity: bound,
    queueSize: bound,
    deadLetterCapacity: bound,
    deadLetterSize: bound,
    memberDataSize: bound,
    maxChannels: bound,
    maxAccessTokens: bound,
    idempotencyCapacity: bound
  } satisfies { readonly [Key in keyof Options]?: Rule }
) as ReadonlyArray<[keyof Options, Rule]>

const textOf = (value: unknown): string =>
  (typeof value === "string" || Object(value) === value ? JSON.stringify(value) : String(value)).slice(0, 100)
