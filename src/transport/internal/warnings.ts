/**
 * Log lines that strangers can cause: each kind at once when it first happens, and then at most once in ten seconds, with
 * how often it has happened.
 */

import * as Effect from "effect/Effect"

/** How long a kind of warning is counted before it is logged again. */
const interval = "10 seconds"

/** Counts something, and has it logged. */
export type WarnUnsafe = (what: string) => void

/** Makes a log. `fork` runs its effects for as long as there is something to log. */
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
