#!/usr/bin/env node
/**
 * The command line, `kosmonaut`: a broker to run, a demo to watch, and a Client and a Worker for the shell.
 *
 * @since 0.1.0
 */

import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as CommandLine from "./CommandLine.ts"
import * as Program from "./Program.ts"

// Who read the output has gone, as `head` does. That ends the program like the end of its work: with no word about it.
const outputEnds = Effect.callback<void>((resume) => {
  process.stdout.on("error", () => resume(Effect.void))
})

// An older one fails later, and not with a sentence.
const node = process.versions.node
const supported = node.localeCompare("22.19", "en", { numeric: true }) >= 0
  ? Effect.void
  : Effect.andThen(
    CommandLine.report(`This needs Node.js 22.19 or newer, and runs on ${node}`),
    Effect.fail(new CommandLine.Reported())
  )

supported.pipe(
  Effect.andThen(Program.run(process.argv.slice(2))),
  Effect.raceFirst(outputEnds),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ teardown: CommandLine.teardown, disableErrorReporting: true })
)
