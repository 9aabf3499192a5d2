/**
 * Any number of requests in flight on one connection, which is made with the first request and remade after it was lost.
 *
 * When the connection is lost, or has been silent for a whole `requestTimeout`, everything in flight fails with
 * `ConnectionError`. Nothing is sent twice, and a request that fails or is interrupted before it was sent is never sent. A
 * defect of the connection fails everything in flight with that defect, and the next request connects again.
 */

import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Frame from "../../protocol/Frame.ts"
import {
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError,
  type MessageEncodeError,
  type RequestTimeoutError
} from "../../protocol/KosmonautError.ts"
import {
  defaultLimits,
  type Direct,
  type RequesterOptions,
  type ResponseHandler,
  type Room,
  type Sent
} from "../Transport.ts"
import * as Exchange from "./exchange.ts"

/** Requests in flight together. */
interface Pipeline<E> {
  readonly direct: Direct
  readonly room: Room
  readonly request: (
    frames: Frame.Frames,
    sent?: Sent
  ) => Effect.Effect<Frame.Frames, MessageEncodeError | ConnectionError | RequestTimeoutError | E>
}

/** What a pipeline needs to know. */
interface Options<E> extends RequesterOptions {
  readonly address: string
  /** What a message may be. */
  readonly bound: { readonly maxMessageSize: number; readonly lines: boolean }
  /** Opens a connection for as long as its scope. */
  readonly dial: Effect.Effect<Exchange.Mailbox, ConnectionError | E, Scope.Scope>
}

/** Makes one. */
export const make = Effect.fnUntraced(function*<E = never>(
  options: Options<E>
): Effect.fn.Return<Pipeline<E>, never, Scope.Scope> {
  const { connect, current, exchange } = yield* makeConnection(options)

  const requestUnsafe = (mailbox: Exchange.Mailbox, frames: Frame.Frames, sent: Sent, handler: ResponseHandler) => {
    sent.connection = mailbox.name
    sent.message = exchange.requestUnsafe(frames, handler)
  }
  const request = (mailbox: Exchange.Mailbox, frames: Frame.Frames, sent: Sent) =>
    Effect.callback<Frame.Frames, ConnectionError | RequestTimeoutError>((resume) => {
      requestUnsafe(mailbox, frames, sent, {
        onResponse: (response) => resume(Effect.succeed(response)),
        onFailure: (cause) => resume(Effect.failCause(cause))
      })
      return Effect.sync(() => exchange.cancelUnsafe(sent.message))
    })

  return {
    room: exchange.room,
    request: (frames, sent = { connection: undefined, message: "" }) =>
      Effect.suspend(
        (): Effect.Effect<Frame.Frames, MessageEncodeError | ConnectionError | RequestTimeoutError | E> => {
          const checked = Frame.check(frames, options.bound)
          if (Result.isFailure(checked)) return Effect.fail(checked.failure)
          const mailbox = current()
          return mailbox === undefined
            ? Effect.flatMap(connect, (mailbox) => request(mailbox, frames, sent))
            : request(mailbox, frames, sent)
        }
      ),
    direct: {
      requestUnsafe: (frames, sent, handler) => {
        const mailbox = current()
        if (mailbox === undefined || Result.isFailure(Frame.check(frames, options.bound))) return false
        requestUnsafe(mailbox, frames, sent, handler)
        return true
      },
      cancelUnsafe: ({ message }) => exchange.cancelUnsafe(message)
    }
  }
})

// The connection that there is, and the making of one.
const makeConnection = Effect.fnUntraced(function*<E>(options: Options<E>) {
  const scope = yield* Effect.scope
  const failure = (Reason: Reason, cause?: unknown) =>
    new ConnectionError({ reason: new Reason({ address: options.address, cause }) })
  const closed = failure(ConnectionClosedError, new Error("the client was closed"))
  let hasEnded = false
  let current: { readonly mailbox: Exchange.Mailbox; readonly scope: Scope.Closeable } | undefined
  let dialing: Deferred.Deferred<Exchange.Mailbox, ConnectionError | E> | undefined

  const exchange = yield* Exchange.make({
    address: options.address,
    requestTimeout: options.requestTimeout,
    maxQueuedRequests: options.maxQueuedRequests ?? defaultLimits.maxQueuedRequests,
    maxQueuedBytes: options.maxQueuedBytes ?? defaultLimits.maxQueuedBytes,
    maxMessageSize: options.bound.maxMessageSize,
    // The connection is of no use any more, whoever is there.
    onSilence: Effect.suspend(() => {
      const silent = current
      end(Cause.fail(failure(ConnectionTimeoutError)))
      return silent === undefined ? Effect.void : Effect.forkIn(Scope.close(silent.scope, Exit.void), scope)
    })
  })
  // A defect fails all; otherwise what was not sent fails as what surely was not.
  const end = (cause: Cause.Cause<ConnectionError>) => {
    current = undefined
    const isFinal = hasEnded || Cause.hasDies(cause)
    exchange.endUnsafe(cause, isFinal ? cause : Cause.fail(failure(ConnectionRefusedError, lostBefore)))
  }

  const dial = Effect.gen(function*() {
    const own = yield* Scope.fork(scope)
    const mailbox = yield* Scope.provide(options.dial, own).pipe(
      Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
    )
    current = { mailbox, scope: own }
    exchange.attachUnsafe(mailbox)
    yield* exchange.receive(mailbox).pipe(
      Effect.catchCause((cause) =>
        Effect.sync(() => current?.mailbox === mailbox ? end(causeOf(cause, failure)) : undefined)
      ),
      Effect.ensuring(Scope.close(own, Exit.void)),
      Effect.forkIn(scope)
    )
    return mailbox
  })
  // Callers that come while one is connecting share its outcome, and may leave without harm to the others.
  const connect = Effect.suspend(() => {
    if (hasEnded) return Effect.fail(closed)
    if (dialing !== undefined) return Deferred.await(dialing)
    const outcome = Deferred.makeUnsafe<Exchange.Mailbox, ConnectionError | E>()
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

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      hasEnded = true
      end(Cause.fail(closed))
      // Callers that wait for a connection that will not be.
      if (dialing !== undefined) Deferred.doneUnsafe(dialing, Effect.fail(closed))
    })
  )
  return { exchange, connect, current: () => current?.mailbox }
})

/** Why there is no connection. */
type Reason = typeof ConnectionClosedError | typeof ConnectionRefusedError | typeof ConnectionTimeoutError

const lostBefore = new Error("the connection was lost before the request was sent")

// Why a connection has ended; a defect stays one.
const causeOf = (
  cause: Cause.Cause<unknown>,
  failure: (Reason: Reason, cause: unknown) => ConnectionError
): Cause.Cause<ConnectionError> => {
  const defect = cause.reasons.find(Cause.isDieReason)
  if (defect !== undefined) return Cause.die(defect.defect)
  const error = Cause.squash(cause)
  return Cause.fail(error instanceof ConnectionError ? error : failure(ConnectionClosedError, error))
}
