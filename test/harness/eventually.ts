/**
 * Waits for what no event tells, such as what a broker does when a connection has gone.
 */
import { Effect } from "effect"

/** Looks again and again until `holds`, and gives what it saw. The test's own timeout is the limit. */
export const eventually = <A, E, R>(
  look: Effect.Effect<A, E, R>,
  holds: (seen: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.flatMap(
    look,
    (seen) => holds(seen) ? Effect.succeed(seen) : Effect.andThen(turn, eventually(look, holds))
  )

/** One turn of the event loop, in which sockets do their work. It takes a moment and no clock. */
export const turn: Effect.Effect<void> = Effect.callback((resume) => {
  setTimeout(() => resume(Effect.void), 2)
})
