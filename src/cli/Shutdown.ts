/**
 * How `kosmonaut serve` ends: within a bound, whatever its peers and its disk do, and with an exit status that says
 * whether everything was stored.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Unpersisted } from "../server/engine/Journal.ts"
import * as CommandLine from "./CommandLine.ts"

/** How long a broker may write to its storage at the end, beyond its own `drainTime` and `shutdownTimeout`. */
const grace = Duration.seconds(5)

/**
 * Ends the process with exit status 1 if it has not ended by itself, `timeout` and 5 seconds after the command was
 * interrupted.
 *
 * @since 0.1.0
 */
export const within = (timeout: Duration.Duration) => <A, E, R>(command: Effect.Effect<A, E, R>) =>
  Effect.onInterrupt(command, () => {
    const limit = Duration.sum(timeout, grace)
    const exit = Effect.andThen(
      CommandLine.report(`The broker has not ended within ${Duration.format(limit)}, and is stopped as it is.`),
      Effect.sync(() => process.exit(1))
    )
    return Effect.forkDetach(Effect.delay(exit, limit))
  })

/**
 * To be provided to a broker: when that has ended and could not store everything, the exit status is 1.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.effectDiscard(
  Effect.gen(function*() {
    const unpersisted = yield* Unpersisted
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (unpersisted.changes > 0) process.exitCode = 1
      })
    )
  })
)
