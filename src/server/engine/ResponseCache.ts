/**
 * The response cache of one vhost: a retried request is not executed again, and gets the response of its first attempt.
 *
 * The last 4096 responses of each connection are cached, at most 1 MiB of them: these are all that can be in flight when a
 * connection is lost. They are cached for `idempotencyRetention` after the connection's last request, within limits for all
 * connections together: `idempotencyCapacity` responses and 64 MiB. Beyond them the connection that has been idle for longest
 * loses its responses. Retries of requests that are no longer cached, and of unknown connections, are rejected, because the
 * broker cannot know whether they were executed. A request that was cancelled since its connection ended is executed when it
 * is retried.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { FromServer } from "../../protocol/Command.ts"
import { BadRequestError, type StatusError } from "../../protocol/KosmonautError.ts"
import type * as Retry from "../../protocol/Retry.ts"
import * as CachedConnections from "./internal/cachedConnections.ts"
import * as Responses from "./internal/responses.ts"

/**
 * The cached responses of one vhost.
 *
 * @since 0.1.0
 */
export interface ResponseCache {
  /** The cached responses of the connection with this id. */
  readonly connection: (id: string) => Connection
  /**
   * Returns the cached response to a retry, an error as a `Failure`; waits for it while the request is being executed.
   * Executes a request that never arrived. Fails with 400 if the key belongs to another request, by its `fingerprint`. Waits
   * no longer than until `ended`.
   */
  readonly retry: (
    key: Retry.Key,
    fingerprint: number,
    execute: Effect.Effect<FromServer, StatusError>,
    ended?: Deferred.Deferred<FromServer>
  ) => Effect.Effect<FromServer, StatusError>
  /** How many responses are cached now, and since the start: how many retries were answered, how many responses evicted. */
  readonly counters: { readonly cached: number; readonly retried: number; readonly evicted: number }
}

/**
 * The cached responses of one connection. Its messages arrive in the order of their ids, which count up from 1 in base 36.
 *
 * @since 0.1.0
 */
export interface Connection {
  /** Whether the connection was evicted; then `ResponseCache.connection` makes a new one. */
  readonly isEvicted: () => boolean
  /** A request has arrived whose response is not cached: later messages are known not to have arrived before it. */
  readonly skipUnsafe: (message: string) => void
  /**
   * Records that a request has arrived. `undefined` if it is to be executed; otherwise this is its response, because a retry
   * of it has arrived before.
   */
  readonly beginUnsafe: (message: string, fingerprint: number) => Effect.Effect<FromServer, StatusError> | undefined
  /** Caches the response to a request. */
  readonly endUnsafe: (message: string, exit: Exit.Exit<FromServer, StatusError>) => void
}

/**
 * Whether a message id can be cached.
 *
 * @since 0.1.0
 */
export const isMessageId = (message: string): boolean => message !== "" && message.length <= 16

/** How many characters the responses of all connections may have together. */
const maxLength = 64 * 1_048_576

/**
 * Makes an empty response cache for a vhost.
 *
 * @since 0.1.0
 */
export const make = ({ clock, idempotencyCapacity, idempotencyRetention }: {
  readonly idempotencyCapacity: number
  readonly idempotencyRetention: Duration.Duration
  readonly clock: Clock.Clock
}): ResponseCache => {
  const counters = { cached: 0, retried: 0, evicted: 0 }
  const total = { length: 0 }
  const connections = CachedConnections.make(clock, Duration.toMillis(idempotencyRetention), counters, total)
  const state: State = { capacity: idempotencyCapacity, connections, counters, total }

  return {
    connection: (id) => {
      const responses = connections.get(id)
      return {
        isEvicted: () => responses.isEvicted,
        skipUnsafe: (message) => Responses.skip(responses, message),
        beginUnsafe: (message, fingerprint) => {
          connections.use(responses)
          const early = Responses.findEarly(responses, message)
          if (early !== undefined) return recall(state, responses, message, fingerprint, early)
          if (Responses.canGrow(responses)) grow(state)
          Responses.add(responses, message, fingerprint)
          return undefined
        },
        endUnsafe: (message, exit) => settle(state, responses, message, exit)
      }
    },
    retry: (key, fingerprint, execute, ended) => retry(state, key, fingerprint, execute, ended),
    counters
  }
}

interface State {
  readonly capacity: number
  readonly connections: CachedConnections.CachedConnections
  readonly counters: { cached: number; retried: number; evicted: number }
  readonly total: { readonly length: number }
}

const makeRoom = ({ capacity, connections, counters, total }: State): void => {
  while (counters.cached > capacity || total.length > maxLength) {
    const idlest = connections.idlest()
    if (idlest === undefined) return
    counters.evicted += Responses.sizeOf(idlest)
    connections.clear(idlest)
  }
}

const grow = (state: State): void => {
  if (++state.counters.cached > state.capacity) makeRoom(state)
}

const settle = (
  state: State,
  responses: Responses.Responses,
  message: string,
  exit: Exit.Exit<FromServer, StatusError>
): void => {
  Responses.settle(responses, message, responseOf(exit))
  if (state.total.length > maxLength) makeRoom(state)
}

const retry = (
  state: State,
  key: Retry.Key,
  fingerprint: number,
  execute: Effect.Effect<FromServer, StatusError>,
  ended?: Deferred.Deferred<FromServer>
): Effect.Effect<FromServer, StatusError> =>
  Effect.suspend(() => {
    const { connections } = state
    const { message } = key
    const responses = connections.find(key.connection)
    if (responses === undefined) return unknown
    const cached = Responses.find(responses, message)
    if (cached !== undefined && cached !== Responses.cancelled) {
      return Effect.flatMap(
        recall(state, responses, message, fingerprint, cached, ended),
        (response) =>
          response === Responses.cancelled && (ended === undefined || !Deferred.isDoneUnsafe(ended))
            ? retry(state, key, fingerprint, execute, ended)
            : Effect.succeed(response)
      )
    }
    if (cached === undefined && (!isMessageId(message) || !Responses.neverArrived(responses, message))) return unknown
    connections.use(responses)
    if (cached !== undefined) Responses.restart(responses, message)
    else if (Responses.addEarly(responses, message, fingerprint)) grow(state)
    return Effect.onExit(execute, (exit) => Effect.sync(() => settle(state, responses, message, exit)))
  })

const recall = (
  { counters }: State,
  responses: Responses.Responses,
  message: string,
  fingerprint: number,
  cached: Responses.Cached,
  ended?: Deferred.Deferred<FromServer>
): Effect.Effect<FromServer, BadRequestError> => {
  if (!Responses.matches(responses, message, fingerprint)) {
    return Effect.fail(new BadRequestError({ detail: "the idempotency key is that of another request" }))
  }
  counters.retried++
  if (cached._tag !== "Running") return Effect.succeed(cached)
  const waiting = cached.waiting ?? Deferred.makeUnsafe<FromServer>()
  Responses.replace(responses, message, { _tag: "Running", waiting })
  const response = Deferred.await(waiting)
  return ended === undefined ? response : Effect.raceFirst(response, Deferred.await(ended))
}

const responseOf = (exit: Exit.Exit<FromServer, StatusError>): FromServer =>
  Exit.isSuccess(exit) ? exit.value._tag === "Ok" ? ok : exit.value : Option.match(Exit.findErrorOption(exit), {
    // A request that was interrupted or died may have been executed in part.
    onNone: () => Responses.unknown,
    onSome: failureOf
  })

/**
 * An error as a response. It has a reason if that says more than the code.
 *
 * @since 0.1.0
 */
export const failureOf = (error: StatusError): FromServer =>
  "detail" in error
    ? FromServer.Failure({ code: error.code, reason: error.detail })
    : FromServer.Failure({ code: error.code })

/**
 * The response to a request that was cancelled before it was executed, since its connection has ended: a retry executes it.
 *
 * @since 0.1.0
 */
export const cancelled: FromServer = Responses.cancelled

/**
 * The response to a retry if it cannot be known whether the request was executed.
 *
 * @since 0.1.0
 */
export const unknown: Effect.Effect<FromServer> = Effect.succeed(Responses.unknown)

// One object for all, since many are cached.
const ok = FromServer.Ok()
