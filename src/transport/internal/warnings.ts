/**
 * Warnings about what strangers can cause, throttled by their text. What was not logged at once is counted and logged later.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Throttle from "../../protocol/Throttle.ts"

/** Logs a warning, throttled by its text. */
export type WarnUnsafe = (what: string) => void

/** Makes the warnings. `fork` runs an effect for as long as there is something to log. */
export const make = (clock: Clock.Clock, fork: (effect: Effect.Effect<void>) => unknown): WarnUnsafe => {
  const throttles = new Map<string, Throttle.Throttle>()
  const log = (what: string, throttle: Throttle.Throttle, isFirst: boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (throttle.pending() === 0) {
        throttles.delete(what)
        return Effect.void
      }
      const count = throttle.take(Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
      // A timer may fire a little early.
      if (count === 0) return Effect.andThen(Effect.sleep("10 millis"), log(what, throttle, isFirst))
      const times = isFirst ? "" : ` (${count} times in the last ${Throttle.interval / 1000} seconds)`
      return Effect.andThen(
        Effect.logWarning(`${what}${times}`),
        Effect.andThen(Effect.sleep(Throttle.interval), log(what, throttle, false))
      )
    })
  return (what) => {
    const running = throttles.get(what)
    const throttle = running ?? Throttle.make()
    throttle.add()
    if (running !== undefined) return
    throttles.set(what, throttle)
    fork(log(what, throttle, true))
  }
}
