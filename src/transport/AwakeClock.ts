/**
 * A monotonic clock without the time in which the process was paused, because a laptop slept, the process was stopped, or the
 * event loop was blocked.
 *
 * After a pause, overdue timers fire before input is read that has arrived meanwhile. Timeouts for silent peers must use this
 * clock, and read the input first after an overdue timer.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * The clock, in milliseconds.
 *
 * @since 0.1.0
 */
export interface AwakeClock {
  /** The time by this clock. Only differences mean something. */
  readonly nowUnsafe: () => number
  /**
   * Sleeps for `millis`, or for a part of it if that is long. If the timer was overdue, the excess does not count, and the
   * sleep continues for a moment in which input can be read.
   */
  readonly sleep: (millis: number) => Effect.Effect<void>
}

/** The longest sleep without reading the clock. At most this much of a pause counts. */
const longestStep = 500

/** How late a timer may be in a process that is just busy. */
const tolerance = 100

/** How long to wait for input after an overdue timer. */
const grace = 100

/**
 * Makes the clock on top of Effect's clock.
 *
 * @since 0.1.0
 */
export const make = (clock: Clock.Clock): AwakeClock => {
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let paused = 0
  return {
    nowUnsafe: () => monotonic() - paused,
    sleep: (millis) =>
      Effect.suspend(() => {
        const step = Math.min(Math.max(millis, 0), longestStep)
        const due = monotonic() + step
        return Effect.flatMap(clock.sleep(Duration.millis(step)), () => {
          const overdue = monotonic() - due
          if (overdue <= tolerance) return Effect.void
          paused += overdue
          return clock.sleep(Duration.millis(grace))
        })
      })
  }
}

/**
 * Sleeps for `millis` by this clock, which sleeps in parts.
 *
 * @since 0.1.0
 */
export const sleepFor = (clock: AwakeClock, millis: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const until = clock.nowUnsafe() + millis
    const rest: Effect.Effect<void> = Effect.suspend(() => {
      const left = until - clock.nowUnsafe()
      return left <= 0 ? Effect.void : Effect.andThen(clock.sleep(left), rest)
    })
    return rest
  })
