/**
 * Runs the command line in this process: with its arguments, on its standard streams, until it is interrupted by a signal.
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

Program.run(process.argv.slice(2)).pipe(
  Effect.raceFirst(outputEnds),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ teardown: CommandLine.teardown, disableErrorReporting: true })
)
