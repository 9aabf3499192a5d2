/**
 * Throttled warnings about things that strangers can cause: the first of a kind is logged immediately, later ones as a count at
 * most every ten seconds.
 */

import * as Effect from "effect/Effect"

/** The minimum time between two warnings of a kind. */
const interval = "10 seconds"

/** Logs a warning, throttled by its text. */
export type WarnUnsafe = (what: string) => void

/** Makes the warnings. `fork` runs an effect for as long as there is something to log. */
export const make = (fork: (effect: Effect.Effect<void>) => unknown): WarnUnsafe => {
  const counts = new Map<string, number>()
  const summarize = (what: string): Effect.Effect<void> =>
    Effect.flatMap(Effect.sleep(interval), () => {
      const count = counts.get(what) ?? 0
      counts.set(what, 0)
      if (count > 0) {
        return Effect.andThen(Effect.logWarning(`${what} (${count} times in the last ${interval})`), summarize(what))
      }
      counts.delete(what)
      return Effect.void
    })
  return (what) => {
    const count = counts.get(what)
    counts.set(what, count === undefined ? 0 : count + 1)
    if (count === undefined) fork(Effect.andThen(Effect.logWarning(what), summarize(what)))
  }
}
