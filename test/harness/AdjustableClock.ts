/**
 * The test's clock, of a process that can stand still, so that its timers are overdue, and whose wall time can be set back.
 */
import { Clock, Effect } from "effect"

/** Wraps the current clock. */
export const make = Effect.map(Clock.Clock, (clock) => {
  let stood = 0n
  let back = 0
  const adjusted: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() - back,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + stood
  })
  return {
    /** As if so much time had passed and no timer had fired. */
    standStill: (millis: number) => {
      stood += BigInt(millis) * 1_000_000n
    },
    /** Sets the wall clock back. */
    setBack: (millis: number) => {
      back += millis
    },
    provide: Effect.provideService(Clock.Clock, adjusted)
  }
})
