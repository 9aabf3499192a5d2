/**
 * A value that changes, and its latest value as a stream. A slow reader of the stream skips values and gets the latest one, so
 * that nothing is queued for it.
 */

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"

/** A value that its owner changes. */
export interface Latest<A> {
  readonly getUnsafe: () => A
  readonly setUnsafe: (value: A) => void
  /** No more values: its streams end after the last one. With a cause they die of it. */
  readonly endUnsafe: (exit?: Exit.Exit<never>) => void
  readonly get: Effect.Effect<A>
  /** Waits until the value satisfies this. */
  readonly until: <B extends A>(isWanted: (value: A) => value is B) => Effect.Effect<B>
  readonly changes: Stream.Stream<A>
}

/** Makes one. */
export const make = <A>(initial: A): Latest<A> => {
  let value = initial
  let version = 0
  let end: Exit.Exit<never, Cause.Done> | undefined
  const changed = Latch.makeUnsafe()
  // Whoever waits goes on in a turn of its own, when all that happened at once is seen.
  const next = Effect.andThen(changed.await, Effect.yieldNow)
  const wake = () => {
    changed.openUnsafe()
    changed.closeUnsafe()
  }
  const changes = Stream.fromPull(Effect.sync(() => {
    let seen = -1
    const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, Cause.Done> = Effect.suspend(() => {
      if (seen === version) return end ?? Effect.andThen(next, pull)
      seen = version
      return Effect.succeed(Arr.of(value))
    })
    return pull
  }))
  const until = <B extends A>(isWanted: (value: A) => value is B): Effect.Effect<B> =>
    Effect.suspend(() => {
      if (isWanted(value)) return Effect.succeed(value)
      // Nothing will come any more.
      if (end !== undefined) return Effect.catch(end, () => Effect.interrupt)
      return Effect.andThen(next, until(isWanted))
    })
  return {
    getUnsafe: () => value,
    until,
    setUnsafe: (next) => {
      value = next
      version++
      wake()
    },
    endUnsafe: (exit) => {
      end ??= exit ?? Exit.fail(Cause.Done())
      wake()
    },
    get: Effect.sync(() => value),
    changes
  }
}
