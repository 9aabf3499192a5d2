/**
 * Work in steps: it is done in turns of a few milliseconds, between which the event loop does other work.
 *
 * How large a step is decides whoever does the work: the clock is read after each.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Timeline from "./timeline.ts"

/** Some work in steps, and what comes of it. */
export type Steps<A> = Generator<void, A, void>

/** How many milliseconds steps are done before the event loop has a turn. */
const turn = 4

/** Does all of it. */
export const run = <A>(steps: Steps<A>, clock: Clock.Clock): Effect.Effect<A> =>
  Effect.gen(function*() {
    for (let until = Timeline.nowOf(clock) + turn;;) {
      const step = steps.next()
      if (step.done === true) return step.value
      if (Timeline.nowOf(clock) < until) continue
      yield* Effect.yieldNow
      until = Timeline.nowOf(clock) + turn
    }
  })
