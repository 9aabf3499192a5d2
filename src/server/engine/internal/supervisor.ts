/**
 * Background fibers that run as long as their scope, and whose defects are logged.
 */

import * as Effect from "effect/Effect"

/**
 * Runs a loop forever. If it dies with a defect, the defect is logged as an error, and the loop is restarted after a second.
 */
export const supervised = <R>(what: string, loop: Effect.Effect<unknown, never, R>): Effect.Effect<never, never, R> =>
  loop.pipe(
    Effect.catchDefect((defect) => Effect.logError(`${what} has failed and restarts in a second`, defect)),
    Effect.andThen(Effect.sleep("1 second")),
    Effect.forever
  )
