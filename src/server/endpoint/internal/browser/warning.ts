/**
 * Warnings that strangers can cause: the first is logged at once, further ones are counted, and their number is logged at
 * most every ten seconds, so that nobody can fill the log.
 */

import * as Effect from "effect/Effect"

/** How long nothing more is logged of the same, in milliseconds. */
const pause = 10_000

/**
 * A warning of one kind. What it gives is to be run each time there is reason for it, with what is known of the last; the
 * sentence is made of the number since the last one was logged.
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
