/**
 * Fibers that work in the background for as long as their scope lives, and do not end in silence.
 */

import * as Effect from "effect/Effect"

/**
 * Runs a loop for ever. A defect in it is logged as an error, and the loop begins anew after a second: the broker goes on, and
 * its operator knows.
 */
export const supervised = <R>(what: string, loop: Effect.Effect<unknown, never, R>): Effect.Effect<never, never, R> =>
  loop.pipe(
    Effect.catchDefect((defect) => Effect.logError(`${what} has failed, and begins anew in a second`, defect)),
    Effect.andThen(Effect.sleep("1 second")),
    Effect.forever
  )
