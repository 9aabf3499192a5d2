/**
 * Time for durations: it never goes back, whatever becomes of the wall clock.
 *
 * What is judged at ticks (whether a worker lives, how long nobody has taken lifecycle events) is judged by lived time, in
 * which a tick takes at most one interval. A process that stood still for a minute has lived one interval: what was sent
 * to it meanwhile is read before anybody is judged for a silence that was its own.
 */

import type * as Clock from "effect/Clock"

/** The time of one vhost, in milliseconds. Only differences mean something. */
export interface Timeline {
  /** Monotonic time. */
  readonly now: () => number
  /** Lived time: monotonic time without what is beyond one interval between two ticks. */
  readonly lived: () => number
  /** The next interval begins. */
  readonly tick: () => void
}

/** Monotonic time in milliseconds. */
export const nowOf = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Begins a timeline whose ticks are to come every `interval` milliseconds. */
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
