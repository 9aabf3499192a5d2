/**
 * Background fibers that run as long as their scope, and whose defects are logged.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

/**
 * Runs a loop forever. If it dies with a defect, or something in it was interrupted and the fiber was not, that is logged as an error,
 * and the loop is restarted after a second.
 *
 * @since 0.1.0
 */
export const supervised = <R>(what: string, loop: Effect.Effect<unknown, never, R>): Effect.Effect<never, never, R> =>
  loop.pipe(
    // A fiber that is interrupted itself does not come here.
    Effect.catchCause((cause) => Effect.logError(`${what} has failed and restarts in a second`, Cause.squash(cause))),
    Effect.andThen(Effect.sleep("1 second")),
    Effect.forever
  )
