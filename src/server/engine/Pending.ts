/**
 * An effect that has begun already and ends later, which can be observed without a fiber that waits.
 *
 * Run it or observe it, once.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * Called once, with how it has ended.
 *
 * @since 0.1.0
 */
export type Observer<A, E> = (exit: Exit.Exit<A, E>) => void

/**
 * The effect.
 *
 * @since 0.1.0
 */
export interface Pending<A, E> extends Effect.Effect<A, E> {
  /** Calls the observer when it ends, at once if it has ended. The observer must not throw. */
  readonly observeUnsafe: (observer: Observer<A, E>) => void
  /** Called if it is run and interrupted. */
  readonly interrupt: () => void
}

/**
 * Makes it. `interrupt` is called if it is run and interrupted.
 *
 * @since 0.1.0
 */
export const make = <A, E>(
  observeUnsafe: Pending<A, E>["observeUnsafe"],
  interrupt: () => void
): Pending<A, E> =>
  Object.assign(
    Effect.callback<A, E>((resume) => {
      observeUnsafe(resume)
      return Effect.sync(interrupt)
    }),
    { interrupt, observeUnsafe }
  )

/**
 * Whether an effect is one.
 *
 * @since 0.1.0
 */
export const isPending = <A, E>(effect: Effect.Effect<A, E>): effect is Pending<A, E> => "observeUnsafe" in effect

/**
 * Whether an effect has ended already, so that its `Exit` can be read.
 *
 * @since 0.1.0
 */
export const isDone = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Exit<A, E> => Exit.isExit(effect)

/**
 * Another one that ends when it does, with what `f` makes of that; `f` is called once.
 *
 * @since 0.1.0
 */
export const map = <A, E, B, E2>(
  { interrupt, observeUnsafe }: Pending<A, E>,
  f: (exit: Exit.Exit<A, E>) => Exit.Exit<B, E2>
): Pending<B, E2> => make((observer) => observeUnsafe((exit) => observer(f(exit))), interrupt)
