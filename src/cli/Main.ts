#!/usr/bin/env node
/**
 * The command line, `kosmonaut`: a broker to run, a demo to watch, and a Client and a Worker for the shell.
 *
 * @since 0.1.0
 */

import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import { broadcast } from "./BroadcastCommand.ts"
import * as CommandLine from "./CommandLine.ts"
import { close, listen, open, token } from "./Commands.ts"
import { deadLetters } from "./DeadLettersCommand.ts"
import { demo } from "./DemoCommand.ts"
import { serve } from "./ServeCommand.ts"

const kosmonaut = Command.make("kosmonaut").pipe(
  Command.withDescription("Realtime browsers: run a broker, and talk to one from the shell"),
  Command.withSubcommands([demo, serve, open, close, broadcast, token, listen, deadLetters]),
  Command.withExamples([
    { command: "kosmonaut demo", description: "See what it is about" },
    { command: "kosmonaut serve --vhost /chat --channel room", description: "Run a broker" },
    {
      command: "export KOSMONAUT_URL=wr://<access token>@127.0.0.1:8081/chat",
      description: "Say once which vhost the other commands are for; serve has printed its token"
    },
    { command: `kosmonaut broadcast room said '{"text":"hello"}'`, description: "Broadcast to its browsers" },
    { command: "kosmonaut listen", description: "Watch what they trigger" }
  ])
)

// Two folders up, from src/cli and from dist/cli alike.
const version = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = yield* path.fromFileUrl(new URL("../../package.json", import.meta.url))
  const text = yield* files.readFileString(file)
  const decoded = yield* Schema.decodeEffect(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))(text)
  return decoded.version
})

// Who read the output has gone, as `head` does. That ends the program like the end of its work: with no word about it.
const outputEnds = Effect.callback<void>((resume) => {
  process.stdout.on("error", () => resume(Effect.void))
})

// An older one fails later, and not with a sentence.
const node = process.versions.node
const supported = node.localeCompare("22.19", "en", { numeric: true }) >= 0
  ? Effect.void
  : Effect.fail(CommandLine.wrongUse(`This needs Node.js 22.19 or newer, and runs on ${node}`))

supported.pipe(
  Effect.andThen(version),
  Effect.flatMap((version) => Command.run(kosmonaut, { version })),
  Effect.raceFirst(outputEnds),
  Effect.catch((error): Effect.Effect<never, CliError.ShowHelp | CommandLine.Reported> =>
    error._tag === "ShowHelp" || error._tag === "Reported"
      ? Effect.fail(error)
      : Effect.andThen(CommandLine.report(error.message), Effect.fail(new CommandLine.Reported()))
  ),
  // Only a mistake in this program gets here; its stack is what helps then.
  Effect.tapDefect((defect) => Effect.logFatal(defect)),
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    CliOutput.layerPresenter(CommandLine.presenter),
    CliConfig.layer({
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
    }),
    Layer.succeed(Logger.LogToStderr, true)
  )),
  NodeRuntime.runMain({ teardown: CommandLine.teardown, disableErrorReporting: true })
)
