/**
 * Runs handlers on the events of an inbox, and stops gracefully.
 *
 * To stop, it wants no more events, releases those that no handler has begun, waits for running handlers, and then sends
 * `QT`, all within `drainTimeout`. Events that are not finished by then are released, `QT` is sent, and only then are their
 * handlers interrupted, so that an uninterruptible handler delays no other. To a broker that does not support releases, `QT` is
 * sent first; then all received events are handled, or if a handler has failed only running handlers finish.
 *
 * If the connection has ended with an error, it stops at once. Running handlers have `drainTimeout` then as well.
 */

import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { UnauthorizedError, UntrustedBrokerError } from "../../protocol/KosmonautError.ts"
import type { Connection } from "./connection.ts"
import type { Delivered } from "./deliveries.ts"
import * as HandlerPool from "./handlerPool.ts"
import type { Inbox } from "./inbox.ts"

/** The options of listening. */
export interface Options {
  readonly open: Effect.Effect<{ readonly inbox: Inbox; readonly connection: Connection }, never, Scope.Scope>
  readonly concurrency: number
  readonly drainTimeout: Duration.Duration
}

/** How long each of the last steps may take after `drainTimeout`: sending `QT`, and interrupting handlers. */
const lastStep = "500 millis"

/** How long to wait for events that are on their way from a broker that does not answer `QT`. */
const onTheirWay = "250 millis"

/** Listens until interrupted. Fails with the first failure of `handle`, or with the error that has ended the connection. */
export const run = Effect.fnUntraced(function*<E, R>(
  { concurrency, drainTimeout, open }: Options,
  handle: HandlerPool.Handle<E, R>
): Effect.fn.Return<never, UnauthorizedError | UntrustedBrokerError | E, R | Scope.Scope> {
  const { connection, inbox } = yield* open
  const context = yield* Effect.context<R>()
  const failed = Deferred.makeUnsafe<never, E>()
  // Its fibers are not those of a scope, which would wait for them without a timeout.
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      HandlerPool.make({
        inbox,
        concurrency,
        context,
        handle,
        onFailure: (cause) => Deferred.doneUnsafe(failed, Exit.failCause(cause))
      })
    ),
    (pool) => {
      const draining = { connection, hasFailed: Deferred.isDoneUnsafe(failed), inbox, pool }
      return Effect.timeoutOrElse(drain(draining), {
        duration: drainTimeout,
        orElse: () => giveUp(draining, drainTimeout)
      })
    }
  )
  return yield* Effect.raceFirst(Deferred.await(failed), connection.failure)
})

const ended = Cause.fail(Cause.Done())

interface Draining {
  readonly connection: Connection
  readonly inbox: Inbox
  readonly pool: HandlerPool.HandlerPool
  /** Whether a handler has failed. */
  readonly hasFailed: boolean
}

const drain = Effect.fnUntraced(function*({ connection, hasFailed, inbox, pool }: Draining) {
  pool.drainUnsafe()
  const acknowledges = yield* connection.pause
  if (acknowledges) {
    inbox.clearUnsafe().forEach(HandlerPool.releaseUnsafe)
    yield* pool.idle
  }
  yield* connection.quit
  if (acknowledges) {
    // When the broker's response comes, it has received the acks, too.
    yield* connection.ended
  } else if (!hasFailed) {
    // The original does not answer.
    yield* Effect.raceFirst(connection.ended, allHandled(pool))
  } else {
    inbox.clearUnsafe()
  }
  inbox.failUnsafe(ended)
  yield* pool.idle
})

/**
 * Ends a stream of events: wants no more, releases what its consumer has not settled and what it has not received, and says
 * goodbye; that takes at most `drainTimeout`. In this order, since the broker would send what is released first back here.
 */
export const release = (
  { connection, inbox, unacked }: Pick<Draining, "connection" | "inbox"> & { readonly unacked: Set<Delivered> },
  drainTimeout: Duration.Duration
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const acknowledges = yield* connection.pause
    for (const delivery of unacked) delivery.releaseUnsafe()
    unacked.clear()
    inbox.clearUnsafe().forEach(HandlerPool.releaseUnsafe)
    yield* connection.quit
    // When the broker's response comes, it has received the acks, too.
    if (acknowledges) yield* connection.ended
  }).pipe(Effect.timeoutOption(drainTimeout), Effect.asVoid)

// Nothing is left to do, and nothing has come for a moment.
const allHandled = (pool: HandlerPool.HandlerPool): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* pool.idle
    yield* Effect.sleep(onTheirWay)
    if (pool.inFlight() > 0) yield* allHandled(pool)
  })

const giveUp = Effect.fnUntraced(function*(
  { connection, inbox, pool }: Draining,
  drainTimeout: Duration.Duration
) {
  const inFlight = pool.inFlight()
  connection.abandonUnsafe()
  yield* Effect.timeoutOption(connection.quit, lastStep)
  const queued = inbox.size()
  if (inFlight + queued > 0) {
    yield* Effect.logWarning(
      `Stopped after ${Duration.format(drainTimeout)}: interrupting ${inFlight} that were being handled, ` +
        `${queued} more that were received are not handled here`
    )
  }
  const ended = yield* Effect.timeoutOption(pool.interrupt, lastStep)
  if (ended._tag === "None") {
    yield* Effect.logWarning(
      `${pool.inFlight()} handlers cannot be interrupted and go on; their events are redelivered to other workers`
    )
  }
})
