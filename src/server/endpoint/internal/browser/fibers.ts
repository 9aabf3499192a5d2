/**
 * The fibers of an endpoint. Its scope waits for them when it ends.
 */

import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"

/** Runs an effect in a fiber. A synchronous effect is done when this returns. */
export type Run = <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>

/**
 * Makes a runner of fibers. When the scope ends, it waits for them for up to `timeout`, and then interrupts them. Defects are
 * logged as errors.
 */
export const make = Effect.fnUntraced(function*(
  timeout: Duration.Duration
): Effect.fn.Return<Run, never, Scope.Scope> {
  const fibers = yield* FiberSet.make()
  yield* Effect.addFinalizer(() =>
    Effect.ignore(Effect.timeoutOption(Effect.interruptible(FiberSet.awaitEmpty(fibers)), timeout))
  )
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const report = (exit: Exit.Exit<unknown>) => {
    if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
      run(Effect.logError("A browser's connection was not handled", exit.cause))
    }
  }
  return (effect) => {
    const fiber = run(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) report(exit)
    else {
      FiberSet.addUnsafe(fibers, fiber)
      fiber.addObserver(report)
    }
    return fiber
  }
})
