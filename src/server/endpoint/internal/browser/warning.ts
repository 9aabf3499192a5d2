/**
 * Throttled warnings about things that strangers can cause.
 */

import * as Effect from "effect/Effect"
import * as Throttle from "../../../../protocol/Throttle.ts"

/**
 * Makes a warning of one kind. Run the result each time it happens, with its details; the sentence has the number of times since
 * the last one was logged.
 */
export const make = (
  sentence: (count: number, last: string) => string
): (last: string) => Effect.Effect<void> => {
  const throttle = Throttle.make()
  return (last) =>
    Effect.suspend(() => {
      throttle.add()
      const count = throttle.take(performance.now())
      return count === 0 ? Effect.void : Effect.logWarning(sentence(count, last))
    })
}

/** `1 browser`, `2 browsers`. */
export const browsers = (count: number): string => count === 1 ? "1 browser" : `${count} browsers`
