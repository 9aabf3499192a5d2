/**
 * The clock that measures turns of the event loop, in the hands of a test: a turn is over when the test says so, however busy
 * the machine is.
 */
import { Effect } from "effect"
import { vi } from "vitest"

/** Runs an effect while `performance.now` stands still. Only `pass` moves it on, by milliseconds. */
export const withStoppedClock = <A, E, R>(
  use: (pass: (millis: number) => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      let now = performance.now()
      const clock = vi.spyOn(performance, "now").mockImplementation(() => now)
      const pass = (millis: number) => {
        now += millis
      }
      return { clock, pass }
    }),
    ({ pass }) => use(pass),
    ({ clock }) => Effect.sync(() => clock.mockRestore())
  )
