/**
 * How often a warning is logged that strangers can cause: the first time immediately, later times as a count at most every ten
 * seconds. A throttle decides over a monotonic time; it logs nothing itself, a warning does.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"

/**
 * The minimum time between two warnings of a kind, in milliseconds.
 *
 * @since 0.1.0
 */
export const interval = 10_000

/**
 * Counts the occurrences of one kind.
 *
 * @since 0.1.0
 */
export interface Throttle {
  /** Adds occurrences, one by default. */
  readonly add: (count?: number) => void
  /** How many are not logged yet. */
  readonly pending: () => number
  /** How many to log now, at this time in milliseconds; 0 for none. They are no longer pending. */
  readonly take: (now: number) => number
}

/**
 * Makes a throttle.
 *
 * @since 0.1.0
 */
export const make = (): Throttle => {
  let pending = 0
  let next: number | undefined
  return {
    add: (count = 1) => {
      pending += count
    },
    pending: () => pending,
    take: (now) => {
      if (pending === 0 || next !== undefined && now < next) return 0
      const count = pending
      pending = 0
      next = now + interval
      return count
    }
  }
}

/**
 * Makes a warning of one kind. Run the result each time it happens, with its details; the sentence has the number of times since
 * the last one was logged.
 *
 * @since 0.1.0
 */
export const warning = (
  sentence: (count: number, last: string) => string
): (last: string) => Effect.Effect<void> => {
  const throttle = make()
  return (last) =>
    Effect.suspend(() => {
      throttle.add()
      const count = throttle.take(performance.now())
      return count === 0 ? Effect.void : Effect.logWarning(sentence(count, last))
    })
}
