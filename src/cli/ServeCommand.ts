/**
 * `kosmonaut serve`: a broker, until it is interrupted.
 *
 * Once all its ports are bound it prints exactly one line on standard output, `ready` and a JSON object that says where
 * it is and with which access tokens; logs go to standard error.
 *
 * @since 0.1.0
 */

import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Broker from "../server/Broker.ts"
import { defaults, type VhostOptions } from "../server/BrokerConfig.ts"
import * as Vhosts from "../server/engine/Vhosts.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Shutdown from "./Shutdown.ts"

const defaultVhost = "/app"

const port = (name: string, standard: number, what: string) =>
  Flag.Int(name).pipe(
    Flag.withMetavar("<port>"),
    Flag.filter((port) => port >= 0 && port <= 65_535, () => "a port is 0 to 65535"),
    Flag.withDefault(standard),
    Flag.withDescription(`${what}; default ${standard}, 0 picks a free one`)
  )

/**
 * `kosmonaut serve`.
 *
 * @since 0.1.0
 */
export const serve = Command.make("serve", {
  host: Flag.String("host").pipe(
    Flag.withMetavar("<address>"),
    Flag.withDefault(defaults.host),
    Flag.withDescription(`The address to bind; default ${defaults.host}, this machine alone. 0.0.0.0 is every address`)
  ),
  websocketPort: port("websocket-port", defaults.websocketPort, "Where browsers connect"),
  backendPort: port("backend-port", defaults.backendPort, "Where backends connect over ZeroMQ, wr://"),
  tcpPort: port("tcp-port", defaults.tcpPort, "Where backends connect over TCP, wr+tcp://"),
  paths: Flag.String("vhost").pipe(
    Flag.withMetavar("<path>"),
    Flag.withDescription(`A vhost, a world of its own, by its path; may be repeated, default ${defaultVhost}`),
    Flag.atLeast(0)
  ),
  tokens: Flag.Redacted("token").pipe(
    Flag.withMetavar("<token>"),
    Flag.withDescription(
      "The access token of a vhost, 40 letters, digits or _; may be repeated, the first is for the first vhost. default $KOSMONAUT_TOKEN for the first, which ps does not show. A vhost without one gets a random one, each time another unless there is --storage-dir"
    ),
    Flag.atLeast(0)
  ),
  channels: Flag.String("channel").pipe(
    Flag.withMetavar("<name>"),
    Flag.withDescription("A channel that is open from the start, in every vhost; may be repeated, default none"),
    Flag.atLeast(0)
  ),
  storageDir: Flag.Directory("storage-dir").pipe(
    Flag.withMetavar("<folder>"),
    Flag.optional,
    Flag.withDescription(
      "Where to keep vhosts, tokens, channels, events that are not handled and dead letters, so that they outlast the broker; default nowhere"
    )
  ),
  fsync: Flag.Boolean("fsync").pipe(
    Flag.withDefault(false),
    Flag.withDescription(
      "With --storage-dir: wait for the disk before anything counts as stored, which outlasts a loss of power, too"
    )
  ),
  browsersBroadcast: Flag.Boolean("browsers-broadcast").pipe(
    Flag.withDefault(false),
    Flag.withDescription(
      "Browsers may broadcast on the channels that they are on, as with WebRocket; default only backends may"
    )
  )
}, () =>
  CommandLine.untilInterrupted(Effect.andThen(announce, Effect.never)).pipe(
    Shutdown.within(defaults.shutdownTimeout)
  )).pipe(
    Command.provide(({ channels, paths, storageDir, tokens, ...options }) =>
      checkFsync(options.fsync, storageDir).pipe(
        Effect.andThen(tokensOrEnvironment(tokens)),
        Effect.flatMap((tokens) => vhosts(paths, tokens, channels)),
        Effect.map((vhosts) => Broker.layer({ ...options, storageDir: Option.getOrUndefined(storageDir), vhosts })),
        Layer.unwrap,
        Layer.provide(Shutdown.layer)
      )
    ),
    Command.withDescription(
      "Run a broker until interrupted, in memory unless there is --storage-dir. Once it is up it prints one line on standard output, ready {…}, with the addresses and each vhost's access token"
    ),
    Command.withShortDescription("Run a broker until interrupted"),
    Command.withExamples([
      { command: "kosmonaut serve", description: `One vhost, ${defaultVhost}, with a random access token` },
      {
        command: "kosmonaut serve --vhost /chat --vhost /news --channel room",
        description: "Two vhosts, each with the channel room"
      },
      {
        command: "kosmonaut serve --websocket-port 0 --backend-port 0 --tcp-port 0",
        description: "On free ports, for tests; the ready line says which"
      }
    ])
  )

const checkFsync = (
  fsync: boolean,
  storageDir: Option.Option<string>
): Effect.Effect<void, CliError.ValidationError> =>
  fsync && Option.isNone(storageDir)
    ? Effect.fail(
      CommandLine.wrongUse("--fsync is for what --storage-dir keeps: give that as well, nothing is stored now")
    )
    : Effect.void

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
): Effect.Effect<ReadonlyArray<VhostOptions>, CliError.ValidationError> => {
  const all = paths.length === 0 ? [defaultVhost] : paths
  return tokens.length > all.length
    ? Effect.fail(CommandLine.wrongUse(
      `There are more tokens (${tokens.length}) than vhosts (${all.length}): give each vhost at most one, in their order`
    ))
    : Effect.succeed(all.map((path, index) => ({ path, token: tokens[index], channels })))
}

const announce = Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const registry = yield* Vhosts.Vhosts
  const vhosts = yield* registry.list
  const ready = {
    ...broker.addresses,
    vhosts: vhosts.map(({ path, token }) => ({ path, token: Redacted.value(token) }))
  }
  yield* Console.log(`ready ${JSON.stringify(ready)}`)
})
