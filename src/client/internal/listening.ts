/**
 * Runs handlers on what comes into an inbox, and ends in order.
 *
 * Interrupted, it says goodbye, finishes all that was received, and leaves; that takes at most `drainTimeout`. When a
 * handler fails it says goodbye as well, but finishes only what is in hand and leaves the rest.
 */

import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
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
  let inHand = 0

  // Only the end of the inbox is an end; a handler's failure is one, whatever it is called.
  const next = Effect.asSome(Queue.take(inbox)).pipe(Effect.catchTag("Done", () => Effect.succeedNone))
  const consume = Effect.gen(function*() {
    for (;;) {
      const item = yield* next
      if (item._tag === "None") return
      inHand++
      yield* Effect.ensuring(handle(item.value), Effect.sync(() => inHand--))
    }
  }).pipe(Effect.catchCause((cause) => Deferred.failCause(failed, cause)))
  const consumers = yield* Effect.forEach(
    Array.from({ length: options.concurrency }),
    () => Effect.forkScoped(consume)
  )

  const drain = Effect.fnUntraced(function*(exit: Exit.Exit<unknown, unknown>) {
    yield* connection.quit
    if (Exit.hasInterrupts(exit)) {
      yield* connection.ended
      yield* Queue.end(inbox)
    } else {
      yield* Queue.shutdown(inbox)
    }
    yield* Fiber.awaitAll(consumers)
  })
  const giveUp = Effect.suspend(() =>
    Effect.logWarning(
      `Stopped after ${Duration.format(options.drainTimeout)}: interrupted ${inHand} that were being handled, ` +
        `${Queue.sizeUnsafe(inbox)} more that were received are lost`
    )
  )
  yield* Effect.addFinalizer((exit) =>
    Effect.timeoutOrElse(drain(exit), { duration: options.drainTimeout, orElse: () => giveUp })
  )
  return yield* Deferred.await(failed)
})
