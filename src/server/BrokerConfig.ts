/**
 * The options of a broker: one Schema, from which their types, defaults and checks, their environment variables and the flags
 * of `kosmonaut serve` follow.
 *
 * The option `queue.capacity` is the environment variable `KOSMONAUT_QUEUE_CAPACITY` and the flag `--queue-capacity`.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import * as Str from "effect/String"
import { defaultMaxMessageSize } from "../protocol/Frame.ts"
import { InvalidOptionError } from "./BrokerError.ts"
import * as ChannelRules from "./internal/channelRule.ts"
import * as Option from "./internal/option.ts"
import * as Groups from "./internal/optionGroups.ts"
import * as Issue from "./internal/optionIssue.ts"

const MiB = 1_048_576

const Vhost = Schema.Struct({
  /** Its path, `/` and words: `/chat`, `/eu/chat`. */
  path: Schema.String,
  /** Its access token, 40 letters, digits or `_`; a random one by default. */
  token: Option.secret,
  /** More access tokens that open it, while they are rotated; default none, or without a `token` the restored ones. At most 9. */
  otherTokens: Option.secrets,
  /** Channels that are open from the start, default none. */
  channels: Option.texts([]),
  /** Rules of its channels, which come before those in the broker's `channelRules`; default none, or the restored ones. */
  channelRules: Schema.optional(ChannelRules.list)
})

const fields = {
  /** The address to bind, default `127.0.0.1`: this machine alone. */
  host: Option.textOr("127.0.0.1"),
  /** Where browsers connect, default 8080; 0 picks a free port. */
  websocketPort: Option.port(8080),
  /** Where backends connect, over ZeroMQ or TCP, default 8081; 0 picks a free port. */
  backendPort: Option.port(8081),
  /** A second port for backends, the one of `wr+tcp://` URLs without a port, default 8083; 0 picks a free port. */
  tcpPort: Option.port(8083),
  /** The vhosts to begin with, default none. */
  vhosts: Schema.Array(Vhost).pipe(Schema.withDecodingDefault(Effect.succeed([]))),
  /** The vhost to begin with if there is no other: neither one in `vhosts` nor a restored one. Default none. */
  defaultVhost: Schema.optional(Vhost),
  /**
   * The folder of the broker's persistent storage, see `SqliteStore`; it is created if it does not exist. Default none:
   * everything is in memory and lost when the broker ends.
   */
  storageDir: Option.text,
  /** Whether each write waits for the disk, default no: writes outlast the broker's process, but not a power failure. */
  fsync: Option.isOn(false),
  /** What people call this node of a cluster, in lists of nodes. Default the name of the machine. */
  nodeName: Option.text,
  /** The largest message in bytes, of a browser or a backend, default 1 MiB. A larger one ends its connection. */
  maxMessageSize: Option.largest(defaultMaxMessageSize),
  /** How many channels a vhost may have, default 100 000. Beyond it opening fails with 597. */
  maxChannels: Option.limit(100_000),
  /**
   * What channels are like, default as in the original: a backend opens them, and they have no history. The first rule whose
   * pattern matches the whole name of a channel is that of the channel. At most 100 rules, whose patterns have at most 5000
   * instructions together.
   */
  channelRules: ChannelRules.list,
  /**
   * How many channels of a vhost may be open that were opened on demand, default 10 000. Beyond it subscribing to another one,
   * and broadcasting on it, fails with 597. Those that a backend has opened do not count.
   */
  maxChannelsOnDemand: Option.limit(10_000),
  /**
   * Over how long browsers are disconnected at the end of the broker, 1001, so that they do not all reconnect at once; default 5
   * seconds. Every tenth of a second an equal part of them, at least 50; with 0 all at once. Meanwhile `/ready` is 503.
   */
  drainTime: Option.span("5 seconds"),
  /** How long the end of the broker may take after that, default 5 seconds. Then connections are destroyed, whatever they have unread. */
  shutdownTimeout: Option.duration("5 seconds"),

  /** TLS: with `cert` and `key` browsers connect to `wss://` only. */
  tls: Option.group(Groups.tls),
  /** CURVE: with `secretKeyFile` backends may connect to `wrs://`. */
  curve: Option.group(Groups.curve),

  /** The Redis that the nodes of a cluster share. */
  redis: Option.group(Groups.redis),

  /** Browsers: which may connect, how many, and how much each may send. */
  browsers: Option.group({
    /**
     * The web sites whose pages may connect, by their `Origin`: `https://example.com`, `null` for pages without one, `*` for
     * all. Default none: then a browser may connect if its page comes from the same host name as the broker, whatever the
     * port. Programs that send no `Origin` may always connect.
     */
    origins: Option.texts([]),
    /**
     * Addresses or networks (`10.0.0.0/8`) of reverse proxies whose `X-Forwarded-For` says where a browser connects from.
     * Default this machine: `127.0.0.0/8` and `::1/128`.
     */
    trustedProxies: Option.texts(["127.0.0.0/8", "::1/128"]),
    /**
     * Whether browsers may broadcast on the channels that they are subscribed to, default no: they are answered 403, and
     * whatever a browser receives was sent by a backend. The original lets every browser broadcast.
     */
    broadcast: Option.isOn(false),
    /**
     * How many may be connected, default no limit but the file descriptors that the process may have, of which a tenth is
     * left for everything else. Beyond it browsers are refused, 1013 or HTTP 503.
     */
    max: Option.limit(Infinity),
    /** How many a vhost may have, default no limit of its own. Beyond it browsers are refused, 1013 or HTTP 503. */
    maxPerVhost: Option.limit(Infinity),
    /**
     * How many may be connected from one address (of IPv6 one /64 network), default 1000. Beyond it browsers are refused,
     * 1013 or HTTP 429. Those of a trusted proxy that sends no `X-Forwarded-For` do not count.
     */
    maxPerAddress: Option.limit(1000),
    /**
     * How long one may stay connected before it has authenticated, default `Infinity`: browsers on normal channels need no
     * token. Beyond it the browser is disconnected, 1008.
     */
    authenticationTimeout: Option.duration("Infinity"),
    /**
     * How often each is pinged, default 25 seconds. One that has sent nothing since the last ping, not even the answer to
     * it, is gone: its connection is closed, and it leaves its channels.
     */
    pingInterval: Option.interval("25 seconds"),
    /**
     * How many messages a second one may send, default 200, with bursts of five seconds' worth. Beyond it messages are
     * answered 429 and not carried out, and a browser that goes on is disconnected, 1013. `unsubscribe` and `close` always
     * pass.
     */
    messageRate: Option.rate(200),
    /** How many bytes a second one may send, default 1 MiB, with bursts of five seconds' worth. Beyond it as above. */
    byteRate: Option.byteRate(MiB),
    /** How many subscriptions one may have, default 1000. Beyond it subscribing is rejected, 429. */
    maxSubscriptions: Option.limit(1000),
    /** How many requests one may have without a response, default 100. Beyond it they are rejected, 429. */
    maxRequests: Option.limit(100),
    /**
     * How many bytes these may have together, with 1 KiB of overhead each, default 4 MiB. Beyond it they are rejected, 429;
     * one is always accepted.
     */
    requestSize: Option.size(4 * MiB),
    /** How many bytes of JSON the `data` of a `subscribe` may have, default 4 KiB. Beyond it 400. */
    dataSize: Option.size(4096),
    /** How many bytes the `data` of all subscriptions of one may have together, default 64 KiB. Beyond it 429. */
    totalDataSize: Option.size(65_536),
    /**
     * How many bytes the list of subscribers in a presence channel's `:subscribed` may have, default 256 KiB. A longer list
     * is truncated, and marked as such.
     */
    presenceListSize: Option.size(262_144),
    /**
     * How many bytes the members of a vhost may take whose connection was lost and may come back (`grace` of a rule), default
     * 16 MiB. Beyond it a member is gone at once.
     */
    graceSize: Option.size(16 * MiB),
    /**
     * How many bytes may be queued for one that does not read, including the overhead of each message, default 4 MiB. Beyond
     * it the browser is disconnected, 1013.
     */
    outboxSize: Option.size(4 * MiB),
    /**
     * How many bytes may be queued for all that do not read together, those of a broadcast counted once; default and at most
     * a quarter of the memory that the process may have. Beyond it the browser that has not read for longest is
     * disconnected, 1013.
     */
    totalOutboxSize: Option.size(Infinity)
  }),

  /** Connections of Clients and Workers. */
  backends: Option.group(Groups.backends),

  /** The heartbeats of workers. */
  heartbeat: Option.group(Groups.heartbeat),

  /** The events of each vhost that wait for a worker, or for its ack. */
  queue: Option.group(Groups.queue),

  /** The dead letters of each vhost: the events that failed too often. */
  deadLetters: Option.group(Groups.deadLetters),

  /** The unused single access tokens of each vhost. */
  tokens: Option.group(Groups.tokens),

  /**
   * Stateless tokens, which a backend or an identity provider signs (JWT), and browsers show instead of single access tokens.
   * Default no keys, and so no such tokens. They need the package `jose`.
   */
  jwt: Option.group(Groups.jwt),

  /**
   * The last broadcasts of channels with a rule that has `history`, which are retained in memory for browsers that were away
   * and for `client.history`. Beyond a limit the oldest ones are dropped; who has missed dropped ones is told so. A broadcast
   * counts at least 352 bytes and two for each character.
   */
  history: Option.group(Groups.history),

  /** What each vhost remembers for retries: the responses to Clients, and the triggers and requests of browsers. */
  idempotency: Option.group(Groups.idempotency),

  /** The admin endpoint, see `AdminApi`. */
  admin: Option.group(Groups.admin)
}

/**
 * The Schema of a broker's options: its encoded side is what an application writes, its type has all defaults.
 *
 * @since 0.1.0
 */
export const schema = Schema.Struct(fields)

/**
 * The options. Each has a default.
 *
 * @since 0.1.0
 */
export interface Options extends Schema.Codec.Encoded<typeof schema> {}

/**
 * A vhost that a broker has from its start.
 *
 * @since 0.1.0
 */
export interface VhostOptions extends Schema.Codec.Encoded<typeof Vhost> {}

/**
 * A rule of channels, see `channelRules`.
 *
 * @since 0.1.0
 */
export type ChannelRule = NonNullable<Options["channelRules"]>[number]

/**
 * A rule of channels, complete but for what the broker's own options say.
 *
 * @since 0.1.0
 */
export type ResolvedChannelRule = Resolved["channelRules"][number]

/**
 * The options, complete.
 *
 * @since 0.1.0
 */
export interface Resolved extends Schema.Schema.Type<typeof schema> {}

/**
 * A broker's configuration, complete.
 *
 * @since 0.1.0
 */
export class BrokerConfig extends Context.Service<BrokerConfig, Resolved>()("kosmonaut/server/BrokerConfig") {}

/**
 * Checks options, and adds the defaults. Unknown options are an error, too.
 *
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Resolved, InvalidOptionError> =>
  Effect.mapError(Effect.fromResult(decode(options)), (issue) => errorOf(issue, options))

const decode = SchemaParser.decodeUnknownResult(schema, { onExcessProperty: "error" })

const errorOf = (issue: SchemaIssue.Issue, options: Options): InvalidOptionError => {
  const { allowed, option, value } = Issue.describe(issue, options)
  const isNoGroup = Option.isGroup(fields[option as keyof typeof fields]) &&
    Object(options[option as keyof Options]) !== options[option as keyof Options]
  return new InvalidOptionError({ option, value, allowed: isNoGroup ? "an object with options" : allowed })
}

/**
 * The configuration as a layer.
 *
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<BrokerConfig, InvalidOptionError> =>
  Layer.effect(BrokerConfig, make(options))

/**
 * Merges options, group by group. Those of `that` win.
 *
 * @since 0.1.0
 */
export const merge = (self: Options, that: Options): Options => nest([...entriesOf(self), ...entriesOf(that)])

/**
 * An option that can be written as text: all but vhosts.
 *
 * @since 0.1.0
 */
export interface TextOption {
  /** Its path in `Options`, as `queue.capacity`. */
  readonly path: string
  /** The environment variable, as `KOSMONAUT_QUEUE_CAPACITY`. */
  readonly variable: string
  /** The flag of the command line, as `queue-capacity`. */
  readonly flag: string
  /** How it is written, for error messages. */
  readonly written: string
  /** Stands for the value in the help of the command line, as `<number>`. */
  readonly metavar: string
  /** The default as text; `undefined` if there is none. */
  readonly standard: string | undefined
  /** Reads a text; `undefined` if it is not allowed. */
  readonly parse: (text: string) => unknown
}

/**
 * All options that can be written as text. A size is a number of bytes, `512KiB` or `4MiB`, a duration has its unit, as `25s`,
 * and what may be without a limit is `unlimited`.
 *
 * @since 0.1.0
 */
export const textOptions: ReadonlyArray<TextOption> = Object.entries<Schema.Top>(fields).flatMap(([name, schema]) =>
  Option.isGroup(schema)
    ? Object.entries(schema.to.fields).flatMap(([key, schema]) => describe(`${name}.${key}`, schema as Schema.Top))
    : describe(name, schema)
)

/**
 * Options from texts by their paths. A text that is not allowed is an `InvalidOptionError` where the options are used.
 *
 * @since 0.1.0
 */
export const fromTexts = (texts: Readonly<Record<string, string | undefined>>): Options =>
  nest(textOptions.map(({ parse, path }) => {
    const text = texts[path]
    return [path, text === undefined ? undefined : parse(text) ?? text]
  }))

/**
 * The options that are set in the environment, as `KOSMONAUT_QUEUE_CAPACITY=500` or `KOSMONAUT_BROWSERS_OUTBOX_SIZE=1MiB`. The
 * secrets among them are `KOSMONAUT_ADMIN_COOKIE`, `KOSMONAUT_JWT_SECRET` and `KOSMONAUT_REDIS_URL`.
 *
 * @since 0.1.0
 */
export const environment: Config.Config<Options> = Config.map(
  Config.all({
    cookie: Config.withDefault(Config.Redacted("KOSMONAUT_ADMIN_COOKIE"), undefined),
    secret: Config.withDefault(Config.Redacted("KOSMONAUT_JWT_SECRET"), undefined),
    redisUrl: Config.withDefault(Config.Redacted("KOSMONAUT_REDIS_URL"), undefined),
    texts: Config.all(Object.fromEntries(textOptions.map(({ path, variable }) => [
      path,
      Config.withDefault(Config.String(variable), undefined)
    ])))
  }),
  ({ cookie, redisUrl, secret, texts }) =>
    [
      cookie === undefined ? {} : { admin: { cookie } },
      secret === undefined ? {} : { jwt: { secret } },
      redisUrl === undefined ? {} : { redis: { url: redisUrl } }
    ].reduce<Options>(merge, fromTexts(texts))
)

function describe(path: string, schema: Schema.Top): ReadonlyArray<TextOption> {
  const found = Option.annotationOf(schema)
  if (found === undefined) return []
  const { kind, standard } = found
  const name = path.replaceAll(".", "-")
  const decode = SchemaParser.decodeUnknownResult(schema as Schema.Codec<unknown>)
  return [{
    path,
    variable: `KOSMONAUT_${Str.constantCase(name)}`,
    flag: Str.kebabCase(name),
    written: kind.written,
    metavar: kind.metavar,
    standard: standard === undefined ? undefined : kind.format(standard),
    parse: (text) => {
      const value = kind.parse(text)
      return kind.isStructured || Result.isSuccess(decode(value)) ? value : undefined
    }
  }]
}

// Options by their paths, and back. A group is a plain object.
function* entriesOf(options: Options): Generator<readonly [path: string, value: unknown]> {
  for (const [name, value] of Object.entries(options)) {
    if (!Option.isGroup(fields[name as keyof typeof fields])) yield [name, value]
    else for (const [key, inner] of Object.entries(value ?? {})) yield [`${name}.${key}`, inner]
  }
}

function nest(entries: Iterable<readonly [path: string, value: unknown]>): Options {
  const options: Record<string, unknown> = {}
  for (const [path, value] of entries) {
    const [name, key] = path.split(".")
    if (value === undefined) continue
    options[name!] = key === undefined ? value : { ...options[name!] as object, [key]: value }
  }
  return options
}
