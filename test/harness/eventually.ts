/**
 * Waits for what no event tells, such as what a broker does when a connection has gone.
 */
import { Effect } from "effect"
import { inspect } from "node:util"

/**
 * Looks again and again until `holds`, and gives what it saw. Dies with what it saw last after `patience` milliseconds. If its test
 * times out before, it prints that.
 */
export const eventually = <A, E, R>(
  look: Effect.Effect<A, E, R>,
  holds: (seen: A) => boolean,
  patience = 40_000
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const start = performance.now()
    let last: A | undefined
    const again: Effect.Effect<A, E, R> = Effect.flatMap(look, (seen) => {
      last = seen
      if (holds(seen)) return Effect.succeed(seen)
      const spent = performance.now() - start
      if (spent > patience) return Effect.die(new Error(sentence(seen)))
      // Whoever waits long looks less often, since looking may be much work.
      return Effect.andThen(pause(Math.min(Math.max(2, spent / 50), 20)), again)
    })
    return Effect.onInterrupt(again, () => Effect.sync(() => console.error(sentence(last))))
  })

const sentence = (last: unknown) => `It did not come; the last was ${inspect(last)}`

const pause = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/** One turn of the event loop, in which sockets do their work. It takes a moment and no clock. */
export const turn: Effect.Effect<void> = pause(2)
