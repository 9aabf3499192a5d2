/**
 * Runs handlers on the events of an inbox, and stops gracefully.
 *
 * To stop, it wants no more events, releases those that no handler has begun, waits for running handlers, and then sends
 * `QT`, all within `drainTimeout`. Events that are not finished by then are released, `QT` is sent, and only then are their
 * handlers interrupted, so that an uninterruptible handler delays no other. To a broker that does not support releases, `QT` is
 * sent first; then all received events are handled, or if a handler has failed only running handlers finish.
 *
 * If the connection has failed for good, it stops at once, and handlers that are running have `drainTimeout`, too.
 */

import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { UnauthorizedError, UntrustedBrokerError } from "../../protocol/KosmonautError.ts"
import type { Connection } from "./connection.ts"
import type { Delivered } from "./deliveries.ts"
import type { Inbox, Item } from "./inbox.ts"

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

/** Listens until interrupted, or until `handle` fails or the connection fails with 402. */
export const run = Effect.fnUntraced(function*<E, R>(
  options: Options,
  handle: (item: Item) => Effect.Effect<unknown, E, R>
): Effect.fn.Return<never, UnauthorizedError | UntrustedBrokerError | E, R | Scope.Scope> {
  const { connection, inbox } = yield* options.open
  const failed = yield* Deferred.make<never, UnauthorizedError | UntrustedBrokerError | E>()
  const consumer = makeConsumer(inbox, handle, (cause) => Deferred.failCause(failed, cause))
  // Detached fibers, since a scope would wait for them without a timeout.
  yield* Effect.acquireRelease(
    Effect.forEach(Array.from({ length: options.concurrency }), () => Effect.forkDetach(consumer.run)),
    (consumers) => {
      const draining = { connection, consumer, consumers, hasFailed: Deferred.isDoneUnsafe(failed), inbox }
      return Effect.timeoutOrElse(drain(draining), {
        duration: options.drainTimeout,
        orElse: () => giveUp(draining, options.drainTimeout)
      })
    }
  )
  return yield* Effect.raceFirst(Deferred.await(failed), connection.failure)
})

// Handles the items of the inbox, one after the other.
const makeConsumer = <E, R>(
  inbox: Inbox,
  handle: (item: Item) => Effect.Effect<unknown, E, R>,
  onFailure: (cause: Cause.Cause<UnauthorizedError | UntrustedBrokerError | E>) => Effect.Effect<unknown>
) => {
  const idle = Latch.makeUnsafe(true)
  let inFlight = 0
  let draining = false

  // `Done` is the end of the inbox only here; a handler that fails with a `Done` has failed.
  const next = Effect.catchTag(inbox.take, "Done", () => Effect.undefined)
  const end = Effect.sync(() => {
    if (--inFlight === 0) idle.openUnsafe()
  })
  const run = Effect.gen(function*() {
    for (;;) {
      // Mostly one is there, and no step of the fiber is needed to take it.
      const item = inbox.takeUnsafe() ?? (yield* next)
      if (item === undefined) return
      if (draining && releaseUnsafe(item)) continue
      if (!beginUnsafe(item)) continue
      inFlight++
      idle.closeUnsafe()
      yield* Effect.ensuring(handle(item), end)
    }
  }).pipe(Effect.catchCause(onFailure))

  return {
    run,
    /** Waits until no handler is running. */
    idle: idle.await,
    inFlight: () => inFlight,
    /** From now on releases events instead of handling them, if they can be released. */
    drainUnsafe: () => {
      draining = true
    }
  }
}

const ended = Cause.fail(Cause.Done())

interface Draining {
  readonly connection: Connection
  readonly inbox: Inbox
  readonly consumer: Pick<ReturnType<typeof makeConsumer>, "idle" | "inFlight" | "drainUnsafe">
  readonly consumers: ReadonlyArray<Fiber.Fiber<unknown>>
  /** Whether a handler has failed. */
  readonly hasFailed: boolean
}

const drain = Effect.fnUntraced(function*(
  { connection, consumer, consumers, hasFailed, inbox }: Draining
) {
  consumer.drainUnsafe()
  const acknowledges = yield* connection.pause
  if (acknowledges) {
    inbox.clearUnsafe().forEach(releaseUnsafe)
    yield* consumer.idle
  }
  yield* connection.quit
  if (acknowledges) {
    // When the broker's response comes, it has received the acks, too.
    yield* connection.ended
    inbox.failUnsafe(ended)
  } else if (!hasFailed) {
    // The original does not answer.
    yield* Effect.raceFirst(connection.ended, allHandled(consumer, inbox))
    inbox.failUnsafe(ended)
  } else {
    inbox.clearUnsafe()
    inbox.failUnsafe(ended)
  }
  yield* Fiber.awaitAll(consumers)
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
    inbox.clearUnsafe().forEach(releaseUnsafe)
    yield* connection.quit
    // When the broker's response comes, it has received the acks, too.
    if (acknowledges) yield* connection.ended
  }).pipe(Effect.timeoutOption(drainTimeout), Effect.asVoid)

// Nothing is left to do, and nothing has come for a moment.
const allHandled = (consumer: Draining["consumer"], inbox: Inbox): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* consumer.idle
    yield* Effect.sleep(onTheirWay)
    if (consumer.inFlight() > 0 || inbox.size() > 0) yield* allHandled(consumer, inbox)
  })

const giveUp = Effect.fnUntraced(function*(
  { connection, consumer, consumers, inbox }: Draining,
  drainTimeout: Duration.Duration
) {
  const inFlight = consumer.inFlight()
  connection.abandonUnsafe()
  yield* Effect.timeoutOption(connection.quit, lastStep)
  const queued = inbox.size()
  if (inFlight + queued > 0) {
    yield* Effect.logWarning(
      `Stopped after ${Duration.format(drainTimeout)}: interrupting ${inFlight} that were being handled, ` +
        `${queued} more that were received are not handled here`
    )
  }
  const ended = yield* Effect.timeoutOption(Fiber.interruptAll(consumers), lastStep)
  if (ended._tag === "None") {
    yield* Effect.logWarning(
      `${consumer.inFlight()} handlers cannot be interrupted and go on; their events are redelivered to other workers`
    )
  }
})

// An event without a delivery is handled here even if its connection has ended.
const beginUnsafe = (item: Item): boolean =>
  Result.isFailure(item) || item.success.delivery === undefined || item.success.delivery.beginUnsafe()

// Releases an event; `false` if it cannot be released because it has no delivery.
const releaseUnsafe = (item: Item): boolean => {
  if (Result.isFailure(item) || item.success.delivery === undefined) return false
  item.success.delivery.releaseUnsafe()
  return true
}
