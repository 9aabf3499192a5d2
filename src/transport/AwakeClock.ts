/**
 * Time as this process could use it: a monotonic clock that leaves out the time in which the process stood still, as when
 * a laptop sleeps, the process is stopped, or the event loop is blocked.
 *
 * A timer that is overdue for such a reason fires before anything is read that has arrived meanwhile. So whoever judges
 * another by its silence measures the silence by this clock, and after an overdue timer reads first.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * Such a clock, in milliseconds.
 *
 * @since 0.1.0
 */
export interface AwakeClock {
  /** The time by this clock. Only differences mean something. */
  readonly nowUnsafe: () => number
  /**
   * Sleeps for `millis`, or for a part of it if that is long. If the timer was overdue, the time beyond it does not count,
   * and the sleep goes on for a moment in which what has arrived can be read.
   */
  readonly sleep: (millis: number) => Effect.Effect<void>
}

/** The longest sleep without a look at the clock. At most so much standing still counts. */
const longestStep = 500

/** How late a timer may be in a process that is just busy. */
const tolerance = 100

/** How long reading may take after a timer that was overdue. */
const grace = 100

/**
 * Makes one over Effect's clock.
 *
 * @since 0.1.0
 */
export const make = (clock: Clock.Clock): AwakeClock => {
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let stoodStill = 0
  return {
    nowUnsafe: () => monotonic() - stoodStill,
    sleep: (millis) =>
      Effect.suspend(() => {
        const step = Math.min(Math.max(millis, 0), longestStep)
        const due = monotonic() + step
        return Effect.flatMap(clock.sleep(Duration.millis(step)), () => {
          const overdue = monotonic() - due
          if (overdue <= tolerance) return Effect.void
          stoodStill += overdue
          return clock.sleep(Duration.millis(grace))
        })
      })
  }
}
