/**
 * Work that is spread over many turns of the event loop.
 */

import * as Effect from "effect/Effect"

/** How long the work may take in one turn, in milliseconds. */
const slice = 8

/** Waits for the next turn of the event loop. By then all input that has arrived is read. */
export const next: Effect.Effect<void> = Effect.callback((resume) => {
  // Input is read between the two, not before the first.
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

/** Calls `use` with each item, those that are added meanwhile included. */
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
