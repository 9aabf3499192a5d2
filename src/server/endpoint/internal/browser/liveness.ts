/**
 * The liveness of browsers: disconnects browsers from which nothing is received, and those that do not authenticate in time.
 * One fiber checks all of them, by a monotonic clock.
 */

import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import type * as Scope from "effect/Scope"
import { type Connection, isSilent, ping } from "./connection.ts"
import * as Turns from "./turns.ts"

/** A check that is later than this, in milliseconds or by half the interval, shows that the broker itself was paused. */
const tolerance = 1000

/**
 * Pings all browsers in every `interval`, and calls `onSilent` with those from which nothing has been received since the
 * last ping. Input that has arrived is read first. If the broker was paused, browsers get another interval.
 */
export const watch = Effect.fnUntraced(function*(
  connections: Iterable<Connection>,
  interval: Duration.Duration,
  onSilent: (connection: Connection) => void
): Effect.fn.Return<void, never, Scope.Scope> {
  const millis = Duration.toMillis(interval)
  const most = millis + Math.min(tolerance, millis / 2)
  let last = yield* now
  const check = Effect.gen(function*() {
    const isLate = (yield* now) - last > most
    yield* Turns.next
    last = yield* now
    yield* Turns.forEach(connections, (connection) => {
      if (!isLate && isSilent(connection)) onSilent(connection)
      else ping(connection)
    })
  })
  yield* repeat(check, interval)
})

/** Browsers that must authenticate. */
export interface Newcomers {
  readonly add: (connection: Connection) => void
  /** A browser has disconnected. */
  readonly remove: (connection: Connection) => void
}

/** Calls `onLate` with browsers that have not authenticated `timeout` after they have connected, or up to a quarter later. */
export const watchAuthentication = Effect.fnUntraced(function*(
  timeout: Duration.Duration,
  onLate: (connection: Connection) => void
): Effect.fn.Return<Newcomers, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const millis = Duration.toMillis(timeout)
  // In the order in which they have connected.
  const since = new Map<Connection, number>()
  const check = Effect.gen(function*() {
    const late = (yield* now) - millis
    yield* Turns.next
    for (const [connection, at] of since) {
      if (at > late) break
      since.delete(connection)
      if (!connection.session.isAuthenticated()) onLate(connection)
    }
  })
  if (millis === Infinity) return { add: constVoid, remove: constVoid }
  yield* repeat(check, Duration.millis(Math.min(Math.max(millis / 4, 10), 5000)))
  return {
    add: (connection) => void since.set(connection, millisOf(clock.monotonicTimeNanosUnsafe())),
    remove: (connection) => void since.delete(connection)
  }
})

const millisOf = (nanos: bigint): number => Number(nanos) / 1_000_000

const now = Effect.map(Clock.monotonicTimeNanos, millisOf)

// A defect is logged, and the next check is done nevertheless.
const repeat = (check: Effect.Effect<void>, interval: Duration.Duration) =>
  check.pipe(
    Effect.catchCause((cause) => Effect.logError("The liveness of browsers was not checked", cause)),
    Effect.delay(interval),
    Effect.forever,
    Effect.forkScoped
  )
