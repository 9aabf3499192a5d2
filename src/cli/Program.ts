/**
 * The command `kosmonaut` with its subcommands, as an effect: it ends by success, or by a failure that has been reported in
 * one sentence on standard error.
 *
 * @since 0.1.0
 */

import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { version } from "../server/admin/Version.ts"
import * as CommandLine from "./CommandLine.ts"

// What a subcommand is for, and the command itself, which is loaded only if it is named: loading all takes time.
const subcommand = <const Name extends string, Input, Context, E, R>(
  name: Name,
  purpose: string,
  load: () => Promise<Command.Command<Name, Input, Context, E, R>>
) => ({
  name,
  listed: Command.make(name).pipe(Command.withDescription(purpose)),
  loaded: Effect.map(Effect.promise(load), Command.withShortDescription(purpose))
})

const subcommands = [
  subcommand(
    "demo",
    "Watch a broker, a worker and three browsers at work",
    () => import("./DemoCommand.ts").then(({ demo }) => demo)
  ),
  subcommand("serve", "Run a broker until interrupted", () => import("./ServeCommand.ts").then(({ serve }) => serve)),
  subcommand(
    "open",
    "Open a channel, so that browsers may subscribe to it",
    () => import("./Commands.ts").then(({ open }) => open)
  ),
  subcommand("close", "Close a channel", () => import("./Commands.ts").then(({ close }) => close)),
  subcommand(
    "broadcast",
    "Broadcast an event to every browser on a channel",
    () => import("./BroadcastCommand.ts").then(({ broadcast }) => broadcast)
  ),
  subcommand(
    "token",
    "Print a token with which one browser may authenticate once",
    () => import("./Commands.ts").then(({ token }) => token)
  ),
  subcommand(
    "listen",
    "Print each event that browsers trigger, until interrupted",
    () => import("./Commands.ts").then(({ listen }) => listen)
  ),
  subcommand(
    "dead-letters",
    "List, replay or discard events whose handlers failed",
    () => import("./DeadLettersCommand.ts").then(({ deadLetters }) => deadLetters)
  ),
  subcommand(
    "admin",
    "See and change what a broker has",
    () => import("./AdminCommand.ts").then(({ admin }) => admin)
  ),
  subcommand(
    "nodes",
    "List the living nodes of a cluster",
    () => import("./NodesCommand.ts").then(({ nodes }) => nodes)
  ),
  subcommand(
    "keygen",
    "Make a pair of keys for wrs://",
    () => import("./KeygenCommand.ts").then(({ keygen }) => keygen)
  )
] as const

type Subcommand = typeof subcommands[number]

// A name may also be an argument of another command: it is loaded in vain then. Completions are for all.
const isNeeded = (name: string, args: ReadonlyArray<string>): boolean =>
  args.some((arg) => arg === name || arg.startsWith("--completions"))

const commandFor = (args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(
      subcommands,
      ({ listed, loaded, name }): Effect.Effect<Subcommand["listed"] | Effect.Success<Subcommand["loaded"]>> =>
        isNeeded(name, args) ? loaded : Effect.succeed(listed)
    ),
    (subcommands) =>
      Command.make("kosmonaut").pipe(
        Command.withDescription("Realtime browsers: run a broker, and send commands to one from the shell"),
        Command.withSubcommands(subcommands),
        Command.withExamples([
          { command: "kosmonaut demo", description: "See what it is about" },
          { command: "kosmonaut serve --vhost /chat --channel room", description: "Run a broker" },
          {
            command: "export KOSMONAUT_URL=wr://<access token>@127.0.0.1:8081/chat",
            description: "Set once which vhost the other commands are for; serve has printed its token"
          },
          { command: `kosmonaut broadcast room said '{"text":"hello"}'`, description: "Broadcast to its browsers" },
          { command: "kosmonaut listen", description: "Watch what they trigger" }
        ])
      )
  )

/**
 * Runs `kosmonaut` with these arguments. A defect is logged with its stack.
 *
 * @since 0.1.0
 */
export const run = (
  args: ReadonlyArray<string>
): Effect.Effect<void, CliError.ShowHelp | CommandLine.Reported, Command.Environment> =>
  Effect.flatMap(commandFor(args), (kosmonaut) => Command.runWith(kosmonaut, { version })(args)).pipe(
    Effect.catch((error): Effect.Effect<never, CliError.ShowHelp | CommandLine.Reported> =>
      error._tag === "ShowHelp" || error._tag === "Reported"
        ? Effect.fail(error)
        : Effect.andThen(CommandLine.report(error.message), Effect.fail(new CommandLine.Reported()))
    ),
    // Only a mistake in this program gets here; its stack is what helps then.
    Effect.tapDefect((defect) => Effect.logFatal(defect)),
    Effect.provide(Layer.mergeAll(
      CliOutput.layerPresenter(CommandLine.presenter),
      CliConfig.layer({
        builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
      }),
      Layer.succeed(Logger.LogToStderr, true)
    ))
  )
