/**
 * How browsers leave a broker that ends: no new ones are admitted, and those that are connected are closed with 1001, some at a
 * time, so that they do not all come back to another broker in the same moment.
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Connection from "./connection.ts"
import type { Run } from "./fibers.ts"
import * as Turns from "./turns.ts"

/** How browsers leave. */
export interface Drain {
  /** Lets all leave, and waits until the last one was told so. Whoever runs it again waits for the same. */
  readonly run: Effect.Effect<void>
  /** Whether it has begun. */
  readonly hasBegun: () => boolean
}

/** How often some are closed, in milliseconds. */
const interval = 100

/** How many are closed at a time at least: few browsers can come back at once. */
const least = 50

/** Makes it, for the browsers that are `open` then. */
export const make = (
  { open, run, time }: {
    readonly open: ReadonlySet<Connection.Connection>
    readonly run: Run
    readonly time: Duration.Duration
  }
): Drain => {
  const steps = Math.max(1, Duration.toMillis(time) / interval)
  let fiber: Fiber.Fiber<void> | undefined
  const closeAll = Effect.gen(function*() {
    const all = [...open]
    const size = Math.max(least, Math.ceil(all.length / steps))
    for (let index = 0; index < all.length; index += size) {
      if (index > 0) yield* Effect.sleep(interval)
      yield* Turns.forEach(all.slice(index, index + size), (connection) => Connection.close(connection, 1001))
    }
  })
  return {
    run: Effect.suspend(() => Effect.asVoid(Fiber.await(fiber ??= run(closeAll)))),
    hasBegun: () => fiber !== undefined
  }
}
