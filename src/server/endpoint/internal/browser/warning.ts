/**
 * Throttled warnings about things that strangers can cause: the first is logged immediately, later ones as a count at most every
 * ten seconds.
 */

import * as Effect from "effect/Effect"

/** The minimum time between two warnings of a kind, in milliseconds. */
const pause = 10_000

/**
 * Makes a warning of one kind. Run the result each time it happens, with its details; the sentence has the number of times since
 * the last one was logged.
 */
export const make = (
  sentence: (count: number, last: string) => string
): (last: string) => Effect.Effect<void> => {
  let count = 0
  let next: number | undefined
  return (last) =>
    Effect.suspend(() => {
      count++
      const now = performance.now()
      if (next !== undefined && now < next) return Effect.void
      const warning = Effect.logWarning(sentence(count, last))
      next = now + pause
      count = 0
      return warning
    })
}

/** `1 browser`, `2 browsers`. */
export const browsers = (count: number): string => count === 1 ? "1 browser" : `${count} browsers`
