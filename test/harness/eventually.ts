/**
 * Waits for what no event tells, such as what a broker does when a connection has gone.
 */
import { Effect } from "effect"
import { inspect } from "node:util"

/** Looks again and again until `holds`, and gives what it saw. Dies with what it saw last after `patience` milliseconds. */
export const eventually = <A, E, R>(
  look: Effect.Effect<A, E, R>,
  holds: (seen: A) => boolean,
  patience = 40_000
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const end = performance.now() + patience
    const again: Effect.Effect<A, E, R> = Effect.flatMap(look, (seen) => {
      if (holds(seen)) return Effect.succeed(seen)
      if (performance.now() > end) return Effect.die(new Error(`It did not come; the last was ${inspect(seen)}`))
      return Effect.andThen(turn, again)
    })
    return again
  })

/** One turn of the event loop, in which sockets do their work. It takes a moment and no clock. */
export const turn: Effect.Effect<void> = Effect.callback((resume) => {
  setTimeout(() => resume(Effect.void), 2)
})
