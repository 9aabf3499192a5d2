/**
 * Errors that nobody waits for, on their way to `onError`: one at a time, and at most 256 queued. Beyond that the oldest are
 * dropped, so that whoever sends nonsense cannot fill the memory.
 */

import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { ReportedError } from "../../BrowserError.ts"

/** Makes the way. A defect of `onError` is logged. */
export const make = Effect.fnUntraced(function*<R>(
  onError: (error: ReportedError) => Effect.Effect<unknown, never, R>
): Effect.fn.Return<(error: ReportedError) => void, never, R | Scope.Scope> {
  const errors = yield* Queue.sliding<ReportedError>(256)
  const next = Effect.flatMap(Queue.take(errors), (error) =>
    Effect.catchDefect(
      Effect.suspend(() => onError(error)),
      (defect) => Effect.logError("onError has died", defect)
    ))
  yield* Effect.forkScoped(Effect.forever(next))
  return (error) => {
    Queue.offerUnsafe(errors, error)
  }
})

/** What is done without an `onError`: a line in the log. */
export const log = (error: ReportedError): Effect.Effect<void> =>
  error._tag === "EventHandlerError" ? Effect.logWarning(error.message, error.cause) : Effect.logWarning(error.message)
