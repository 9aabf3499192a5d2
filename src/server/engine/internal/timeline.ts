/**
 * Monotonic time, and lived time.
 *
 * In lived time the interval between two ticks counts at most as the configured interval. Workers and lifecycle events expire
 * by lived time: a process that was paused for a minute has lived one interval, and reads what was sent to it meanwhile before
 * it expires anybody.
 */

import type * as Clock from "effect/Clock"

/** The time of one vhost, in milliseconds. Only differences are meaningful. */
export interface Timeline {
  /** Monotonic time. */
  readonly now: () => number
  /** Lived time. */
  readonly lived: () => number
  /** Begins the next interval. */
  readonly tick: () => void
}

/** Monotonic time in milliseconds. */
export const nowOf = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Makes a timeline that is to tick every `interval` milliseconds. */
export const make = (clock: Clock.Clock, interval: number): Timeline => {
  const now = () => nowOf(clock)
  let lived = 0
  let tickedAt = now()
  return {
    now,
    lived: () => lived + Math.min(now() - tickedAt, interval),
    tick: () => {
      const at = now()
      lived += Math.min(at - tickedAt, interval)
      tickedAt = at
    }
  }
}
