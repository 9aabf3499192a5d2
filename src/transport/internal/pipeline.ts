/**
 * Any number of requests in flight on one connection, which is made when it is first needed, and again when it was lost.
 *
 * When the connection is lost, or has been silent for the whole time of a request, everything in flight fails with
 * `ConnectionError`. Nothing is sent twice.
 */

import type * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { Frames } from "../../protocol/Frame.ts"
import { ConnectionError, type MessageEncodeError, type RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import type { Direct, Hearer, Sent } from "../Transport.ts"
import type { Item } from "./batch.ts"
import * as PendingRequests from "./pendingRequests.ts"
import * as Turns from "./turns.ts"

/** A connection as items that come and go; the envelope of an answer is that of its request. */
export interface Mailbox {
  /** The name of the connection, which is that of its identity. */
  readonly name: string
  /** The next items. Fails once the connection has ended. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Item>, unknown>
  /** Sends, in order; `settled` hears of an error if it could not be, and with which envelope. */
  readonly sendUnsafe: (envelope: string, frames: Frames, settled: Settled) => void
}

/** Hears whether what has this envelope was sent: `undefined` says so. */
export type Settled = (error: unknown, envelope: string) => void

/** Requests in flight together. */
interface Pipeline<E> {
  readonly direct: Direct
  readonly request: (
    frames: Frames,
    sent?: Sent
  ) => Effect.Effect<Frames, MessageEncodeError | ConnectionError | RequestTimeoutError | E>
}

/** Makes one. `dial` opens a connection for as long as its scope. */
export const make = Effect.fnUntraced(function*<E = never>(options: {
  readonly address: string
  readonly requestTimeout: Duration.Duration
  readonly check: (frames: Frames) => Result.Result<Frames, MessageEncodeError>
  readonly dial: Effect.Effect<Mailbox, ConnectionError | E, Scope.Scope>
}): Effect.fn.Return<Pipeline<E>, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const failure = (reason: ConnectionError["reason"], cause?: unknown) =>
    new ConnectionError({ address: options.address, reason, cause })
  const ended = failure("Closed", new Error("the client was closed"))
  let hasEnded = false
  let current: { readonly mailbox: Mailbox; readonly scope: Scope.Closeable } | undefined
  let dialing: Deferred.Deferred<Mailbox, ConnectionError | E> | undefined

  const pending = yield* PendingRequests.make({
    timeout: options.requestTimeout,
    // Whoever is there, the connection is of no use any more.
    onSilence: Effect.suspend(() => {
      const silent = current
      lost(failure("Silent"))
      return silent === undefined ? Effect.void : Effect.forkIn(Scope.close(silent.scope, Exit.void), scope)
    })
  })
  const lost = (error: ConnectionError) => {
    current = undefined
    pending.failAllUnsafe(error)
  }

  const dial = Effect.gen(function*() {
    const own = yield* Scope.fork(scope)
    const mailbox = yield* Scope.provide(options.dial, own).pipe(
      Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
    )
    current = { mailbox, scope: own }
    const turns = Turns.make()
    yield* Effect.flatMap(mailbox.pull, (items) => receive(items, turns)).pipe(
      (receive) => Effect.forever(receive, { disableYield: true }),
      Effect.catch((cause) =>
        Effect.sync(() => current?.mailbox === mailbox ? lost(failure("Closed", cause)) : undefined)
      ),
      Effect.ensuring(Scope.close(own, Exit.void)),
      Effect.forkIn(scope)
    )
    return mailbox
  })
  const receive = (items: ReadonlyArray<Item>, turns: Turns.Turns): Effect.Effect<void> => {
    pending.heardUnsafe()
    let rest: Effect.Effect<void> | undefined
    for (const { envelope, frames } of items) {
      pending.answerUnsafe(envelope, frames)
      rest = turns() ?? rest
    }
    return rest ?? Effect.void
  }

  // Whoever comes while one is connecting shares its outcome, and may leave without harm to the others.
  const connect = Effect.suspend(() => {
    if (hasEnded) return Effect.fail(ended)
    if (dialing !== undefined) return Deferred.await(dialing)
    const outcome = Deferred.makeUnsafe<Mailbox, ConnectionError | E>()
    dialing = outcome
    return Effect.exit(dial).pipe(
      Effect.map((exit) => {
        dialing = undefined
        Deferred.doneUnsafe(outcome, exit)
      }),
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(outcome))
    )
  })

  const unsent: Settled = (cause, id) => {
    if (cause !== undefined) pending.failUnsafe(id, failure("Closed", cause))
  }
  const askUnsafe = (mailbox: Mailbox, frames: Frames, sent: Sent, hearer: Hearer) => {
    sent.connection = mailbox.name
    sent.message = pending.addUnsafe(frames[0]!, hearer)
    mailbox.sendUnsafe(sent.message, frames, unsent)
  }
  const ask = (mailbox: Mailbox, frames: Frames, sent: Sent) =>
    Effect.callback<Frames, ConnectionError | RequestTimeoutError>((resume) => {
      askUnsafe(mailbox, frames, sent, {
        answered: (answer) => resume(Effect.succeed(answer)),
        failed: (error) => resume(Effect.fail(error))
      })
      return Effect.sync(() => pending.forgetUnsafe(sent.message))
    })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      hasEnded = true
      lost(ended)
      // Whoever waits for a connection that will not be.
      if (dialing !== undefined) Deferred.doneUnsafe(dialing, Effect.fail(ended))
    })
  )
  return {
    request: (frames, sent = { connection: undefined, message: "" }) =>
      Effect.suspend((): Effect.Effect<Frames, MessageEncodeError | ConnectionError | RequestTimeoutError | E> => {
        const checked = options.check(frames)
        if (Result.isFailure(checked)) return Effect.fail(checked.failure)
        return current === undefined
          ? Effect.flatMap(connect, (mailbox) => ask(mailbox, frames, sent))
          : ask(current.mailbox, frames, sent)
      }),
    direct: {
      askUnsafe: (frames, sent, hearer) => {
        if (current === undefined || Result.isFailure(options.check(frames))) return false
        askUnsafe(current.mailbox, frames, sent, hearer)
        return true
      },
      forgetUnsafe: ({ message }) => pending.forgetUnsafe(message)
    }
  }
})
