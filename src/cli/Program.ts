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
import { admin } from "./AdminCommand.ts"
import { broadcast } from "./BroadcastCommand.ts"
import * as CommandLine from "./CommandLine.ts"
import { close, listen, open, token } from "./Commands.ts"
import { deadLetters } from "./DeadLettersCommand.ts"
import { demo } from "./DemoCommand.ts"
import { keygen } from "./KeygenCommand.ts"
import { nodes } from "./NodesCommand.ts"
import { serve } from "./ServeCommand.ts"

const kosmonaut = Command.make("kosmonaut").pipe(
  Command.withDescription("Realtime browsers: run a broker, and send commands to one from the shell"),
  Command.withSubcommands([demo, serve, open, close, broadcast, token, listen, deadLetters, admin, nodes, keygen]),
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

/**
 * Runs `kosmonaut` with these arguments. A defect is logged with its stack.
 *
 * @since 0.1.0
 */
export const run = (
  args: ReadonlyArray<string>
): Effect.Effect<void, CliError.ShowHelp | CommandLine.Reported, Command.Environment> =>
  Command.runWith(kosmonaut, { version })(args).pipe(
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
