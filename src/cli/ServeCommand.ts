/**
 * `kosmonaut serve`: a broker, until it is interrupted.
 *
 * Once all its ports are bound it prints exactly one line on standard output, `ready` and a JSON object with its addresses
 * and its vhosts. A vhost has its access token there only if neither a flag nor the environment gave it: who gave it knows
 * it. Logs go to standard error.
 *
 * @since 0.1.0
 */

import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Broker from "../server/Broker.ts"
import * as BrokerConfig from "../server/BrokerConfig.ts"
import * as Vhosts from "../server/Vhosts.ts"
import * as CommandLine from "./CommandLine.ts"
import * as LogFormat from "./LogFormat.ts"
import { optionFlags } from "./OptionFlags.ts"
import * as Shutdown from "./Shutdown.ts"

const defaultVhost = "/app"
const adminPort = 8082

const otlpUrl = Flag.String("otlp-url").pipe(
  Flag.withMetavar("<url>"),
  Flag.withFallbackConfig(Config.String("KOSMONAUT_OTLP_URL")),
  Flag.filter(
    (text) => /^https?:\/\/[^/?#@]+(\/[^?#@]*)?$/.test(text) && URL.canParse(text),
    () => "it is an http: or https: URL, as http://127.0.0.1:4318; what authenticates is in $OTEL_EXPORTER_OTLP_HEADERS"
  ),
  Flag.optional,
  Flag.map(Option.getOrUndefined),
  Flag.withDescription(
    "Send traces, metrics and logs to the OpenTelemetry collector at this URL (OTLP over HTTP), as http://127.0.0.1:4318; default $KOSMONAUT_OTLP_URL or nowhere"
  )
)

// Loaded only if there is a collector: it takes time.
const telemetry = (url: string | undefined): Layer.Layer<never, Config.ConfigError> =>
  url === undefined
    ? Layer.empty
    : Layer.unwrap(Effect.map(Effect.promise(() => import("./Telemetry.ts")), ({ layer }) => layer(url)))

/**
 * `kosmonaut serve`.
 *
 * @since 0.1.0
 */
export const serve = Command.make("serve", {
  paths: Flag.String("vhost").pipe(
    Flag.withMetavar("<path>"),
    Flag.withDescription(
      `The path of a vhost, with channels and workers of its own; may be repeated, default those in --storage-dir, or ${defaultVhost} if there are none`
    ),
    Flag.atLeast(0)
  ),
  tokens: Flag.Redacted("token").pipe(
    Flag.withMetavar("<token>"),
    Flag.withDescription(
      "The access token of a vhost, 40 letters, digits or _, or several with commas between, of which the first is the current one; may be repeated, the first is for the first vhost; default $KOSMONAUT_TOKEN for the first, which ps does not show. A vhost without a token gets a random one, a new one at each start unless there is --storage-dir"
    ),
    Flag.atLeast(0)
  ),
  channels: Flag.String("channel").pipe(
    Flag.withMetavar("<name>"),
    Flag.withDescription("A channel that is open from the start, in every vhost; may be repeated, default none"),
    Flag.atLeast(0)
  ),
  otlpUrl,
  logFormat: LogFormat.flag,
  redisUrl: Flag.Redacted("redis-url").pipe(
    Flag.withMetavar("<url>"),
    Flag.optional,
    Flag.withDescription(
      "The Redis of a cluster, redis://:<password>@<host>:6379, or rediss://… for TLS: all brokers with the same one are one broker, and browsers and backends may connect to any of them; default $KOSMONAUT_REDIS_URL, which ps does not show, or none"
    )
  ),
  options: optionFlags
}, (input) =>
  Effect.gen(function*() {
    const options = yield* optionsOf(input)
    const { drainTime, shutdownTimeout } = yield* BrokerConfig.make(options)
    return yield* CommandLine.untilInterrupted(Effect.andThen(announce(input, options), Effect.never)).pipe(
      Shutdown.within(Duration.sum(drainTime, shutdownTimeout)),
      Effect.provide(
        Layer.provide(Broker.layer(options), Shutdown.layer).pipe(
          Layer.provide(telemetry(input.otlpUrl)),
          // Also for what is logged here.
          Layer.provideMerge(LogFormat.layer(input.logFormat))
        )
      )
    )
  })).pipe(
    Command.withDescription(
      "Run a broker until interrupted, in memory unless there is --storage-dir. Once it is up it prints one line on standard output, ready {…}, with the addresses, the vhosts and the access tokens that you did not give. Sizes are written 4MiB, durations 25s, no limit unlimited. Options of the broker can also be set in the environment: KOSMONAUT_QUEUE_CAPACITY is --queue-capacity"
    ),
    Command.withExamples([
      { command: "kosmonaut serve", description: `One vhost, ${defaultVhost}, with a random access token` },
      {
        command: "kosmonaut serve --vhost /chat --vhost /news --channel room",
        description: "Two vhosts, each with the channel room"
      },
      {
        command: "kosmonaut serve --channel-rule 'room-.* open-on-demand history' --channel-rule '.* open-on-demand'",
        description: "Channels are open when they are needed, and rooms have a history"
      },
      {
        command: "kosmonaut serve --websocket-port 0 --backend-port 0 --tcp-port 0 --admin-port 0",
        description: "On free ports, for tests; the ready line has them"
      },
      {
        command: "kosmonaut serve --host 0.0.0.0 --origin https://example.com --tls-cert cert.pem --tls-key key.pem",
        description: "For browsers from elsewhere, encrypted: wss://"
      },
      {
        command: "kosmonaut serve --vhost /chat --storage-dir /var/lib/kosmonaut",
        description: "With storage, which outlasts the broker; kosmonaut admin finds its cookie there"
      }
    ])
  )

// To a person alone: what is not a terminal may be a log, and each line of that has its format.
const announceCookie = ({ logFormat }: Input, admin: Broker.Broker["Service"]["admin"]) =>
  Effect.suspend(() => {
    if (admin === undefined) return Effect.void
    const { address, cookie } = admin
    if (process.stderr.isTTY) {
      return Console.error(`kosmonaut: The cookie of administrators is ${Redacted.value(cookie)}, at ${address}`)
    }
    const unknown =
      `Nobody knows the cookie of administrators, at ${address}: set KOSMONAUT_ADMIN_COOKIE, or --storage-dir for a file with one`
    return logFormat === "json" ? Effect.logInfo(unknown) : Console.error(`kosmonaut: ${unknown}`)
  })

// Flags win over the environment.
const optionsOf = Effect.fnUntraced(function*({ channels, options, paths, redisUrl, tokens }: Input) {
  const all: ReadonlyArray<BrokerConfig.Options> = [
    yield* BrokerConfig.environment,
    BrokerConfig.fromTexts(options),
    Option.match(redisUrl, { onNone: () => ({}), onSome: (url) => ({ redis: { url } }) })
  ]
  const given = all.reduce(BrokerConfig.merge, { admin: { port: adminPort } })
  if (given.fsync === true && given.storageDir === undefined) {
    return yield* CommandLine.wrongUse("--fsync needs --storage-dir: without it nothing is stored")
  }
  return { ...given, ...yield* vhosts(paths, yield* tokensOrEnvironment(tokens), channels) }
})

const tokensOrEnvironment = (
  tokens: ReadonlyArray<Redacted.Redacted>
): Effect.Effect<ReadonlyArray<Redacted.Redacted>, Config.ConfigError> =>
  tokens.length > 0
    ? Effect.succeed(tokens)
    : Effect.map(Config.option(Config.Redacted("KOSMONAUT_TOKEN")), Option.toArray)

const vhosts = (
  paths: ReadonlyArray<string>,
  tokens: ReadonlyArray<Redacted.Redacted>,
  channels: ReadonlyArray<string>
): Effect.Effect<Pick<BrokerConfig.Options, "vhosts" | "defaultVhost">, CliError.ValidationError> => {
  const all = paths.length === 0 ? [defaultVhost] : paths
  if (tokens.length > all.length) {
    return Effect.fail(CommandLine.wrongUse(
      `There are more tokens (${tokens.length}) than vhosts (${all.length}): give each vhost at most one, in their order`
    ))
  }
  const options = all.map((path, index): BrokerConfig.VhostOptions => {
    const [token, ...otherTokens] = split(tokens[index])
    return { path, token, otherTokens, channels }
  })
  return Effect.succeed(paths.length === 0 ? { defaultVhost: options[0] } : { vhosts: options })
}

// Those of one vhost, the current one first.
const split = (tokens: Redacted.Redacted | undefined): ReadonlyArray<Redacted.Redacted> =>
  tokens === undefined ? [] : Redacted.value(tokens).split(",").map((token) => Redacted.make(token.trim()))

interface Input {
  readonly paths: ReadonlyArray<string>
  readonly tokens: ReadonlyArray<Redacted.Redacted>
  readonly channels: ReadonlyArray<string>
  readonly redisUrl: Option.Option<Redacted.Redacted>
  readonly logFormat: LogFormat.LogFormat
  readonly options: Readonly<Record<string, string | undefined>>
}

const announce = Effect.fnUntraced(function*(input: Input, options: BrokerConfig.Options) {
  const { channels, tokens } = input
  const broker = yield* Broker.Broker
  const registry = yield* Vhosts.Vhosts
  const vhosts = yield* registry.list
  const given = new Set(
    (yield* tokensOrEnvironment(tokens)).flatMap((one) => split(one).slice(0, 1).map(Redacted.value))
  )
  const own = vhosts.filter(({ token }) => !given.has(Redacted.value(token)))
  if (given.size > 0 && options.vhosts === undefined && !vhosts.some(({ path }) => path === defaultVhost)) {
    return yield* CommandLine.wrongUse(
      `A token was given, but the broker has the vhosts ${
        vhosts.map(({ path }) => path).join(", ")
      }: choose one with --vhost`
    )
  }
  // Vhosts that were restored and not named are open to the same channels.
  yield* Effect.forEach(vhosts, (vhost) => Effect.forEach(channels, vhost.channels.open, { discard: true }), {
    discard: true
  })
  const ready = {
    ...broker.addresses,
    ...broker.serverKey !== undefined && { serverKey: broker.serverKey },
    vhosts: vhosts.map((vhost) => ({
      path: vhost.path,
      ...own.includes(vhost) && { token: Redacted.value(vhost.token) }
    }))
  }
  yield* Console.log(`ready ${JSON.stringify(ready)}`)
  if (options.admin?.cookie === undefined && options.storageDir === undefined) {
    yield* announceCookie(input, broker.admin)
  }
})
