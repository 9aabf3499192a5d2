/**
 * Runs handlers on what comes into an inbox, and ends in order.
 *
 * At the end it wants no more events, gives back at once those whose handling has not begun, finishes those in hand, and
 * then says goodbye; that takes at most `drainTimeout`, and what is not finished then is given back too. From a broker to
 * which nothing can be given back it says goodbye first and finishes all that was received, when it is interrupted, or
 * what is in hand, when a handler has failed.
 */

import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { UnauthorizedError } from "../../protocol/KosmonautError.ts"
import type { Connection, Inbox, Item } from "./connection.ts"

/** How to listen. */
export interface Options {
  readonly open: Effect.Effect<{ readonly inbox: Inbox; readonly connection: Connection }, never, Scope.Scope>
  readonly concurrency: number
  readonly drainTimeout: Duration.Duration
}

/** Listens until interrupted, or until `handle` fails or the connection has ended for good. */
export const run = Effect.fnUntraced(function*<E, R>(
  options: Options,
  handle: (item: Item) => Effect.Effect<unknown, E, R>
): Effect.fn.Return<never, UnauthorizedError | E, R | Scope.Scope> {
  const { connection, inbox } = yield* options.open
  const failed = yield* Deferred.make<never, UnauthorizedError | E>()
  const idle = Latch.makeUnsafe(true)
  let inHand = 0
  let draining = false

  // Only the end of the inbox is an end; a handler's failure is one, whatever it is called.
  const next = Effect.asSome(Queue.take(inbox)).pipe(Effect.catchTag("Done", () => Effect.succeedNone))
  const consume = Effect.gen(function*() {
    for (;;) {
      const item = yield* next
      if (item._tag === "None") return
      if (draining && giveBackUnsafe(item.value)) continue
      if (!beginUnsafe(item.value)) continue
      inHand++
      idle.closeUnsafe()
      yield* Effect.ensuring(
        handle(item.value),
        Effect.sync(() => {
          if (--inHand === 0) idle.openUnsafe()
        })
      )
    }
  }).pipe(Effect.catchCause((cause) => Deferred.failCause(failed, cause)))
  const consumers = yield* Effect.forEach(
    Array.from({ length: options.concurrency }),
    () => Effect.forkScoped(consume)
  )

  const drain = Effect.fnUntraced(function*(exit: Exit.Exit<unknown, unknown>) {
    draining = true
    const acknowledges = yield* connection.pause
    if (acknowledges) {
      const waiting = yield* Effect.orElseSucceed(Queue.clear(inbox), () => [])
      waiting.forEach(giveBackUnsafe)
      yield* idle.await
    }
    yield* connection.quit
    if (acknowledges || Exit.hasInterrupts(exit)) {
      // The broker's answer says that it has heard the acknowledgements, too.
      yield* connection.ended
      yield* Queue.end(inbox)
    } else {
      yield* Queue.shutdown(inbox)
    }
    yield* Fiber.awaitAll(consumers)
  })
  // Those in hand are given back by their interruption, and what was never begun by the goodbye.
  const giveUp = Effect.gen(function*() {
    const interrupted = inHand
    yield* Fiber.interruptAll(consumers)
    yield* Effect.timeoutOption(connection.quit, "1 second")
    yield* Effect.logWarning(
      `Stopped after ${Duration.format(options.drainTimeout)}: interrupted ${interrupted} that were being handled, ` +
        `${Queue.sizeUnsafe(inbox)} more that were received are not handled here`
    )
  })
  yield* Effect.addFinalizer((exit) =>
    Effect.timeoutOrElse(drain(exit), { duration: options.drainTimeout, orElse: () => giveUp })
  )
  return yield* Deferred.await(failed)
})

// What came without a delivery is ours whatever becomes of its connection.
const beginUnsafe = (item: Item): boolean =>
  Result.isFailure(item) || item.success.delivery === undefined || item.success.delivery.beginUnsafe()

// Whether it could be: what came without a delivery is ours to handle.
const giveBackUnsafe = (item: Item): boolean => {
  if (Result.isFailure(item) || item.success.delivery === undefined) return false
  item.success.delivery.giveBackUnsafe("")
  return true
}
