/**
 * Work that goes on over many turns of the event loop, so that nobody waits for its end.
 */

import * as Effect from "effect/Effect"

/** How long the work goes on in one turn, in milliseconds. */
const slice = 8

/** The next turn of the event loop: by then all that has arrived on connections has been read. */
export const next: Effect.Effect<void> = Effect.callback((resume) => {
  // Input is read between the two, not before the first.
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

/** Does something for each, those that are added meanwhile included. */
export const forEach = Effect.fnUntraced(function*<A>(items: Iterable<A>, use: (item: A) => void) {
  let end = performance.now() + slice
  let done = 0
  for (const item of items) {
    use(item)
    if (++done % 16 !== 0 || performance.now() < end) continue
    yield* next
    end = performance.now() + slice
  }
})
