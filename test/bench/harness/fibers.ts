/**
 * Who asks by Effects: so many fibers, each waiting for its response before it asks again.
 */
import { Effect } from "effect"
import type { Done } from "./pace.ts"

/** Keeps so many of these Effects in flight until the time is over. */
export const request = (fibers: number, milliseconds: number, ask: Effect.Effect<unknown, unknown>): Promise<Done> => {
  const started = performance.now()
  let operations = 0
  const one = Effect.gen(function*() {
    while (performance.now() - started < milliseconds) {
      yield* ask
      operations++
    }
  })
  return Effect.runPromise(
    Effect.forEach(Array.from({ length: fibers }), () => one, { concurrency: "unbounded", discard: true }).pipe(
      Effect.andThen(Effect.sync(() => ({ operations, seconds: (performance.now() - started) / 1000 })))
    )
  )
}
