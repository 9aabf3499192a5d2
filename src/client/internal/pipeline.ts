/**
 * Any number of requests in flight on one connection, which is opened with the first request and reopened after it was lost.
 *
 * When the connection is lost, or nothing was received on it for a whole `requestTimeout`, everything in flight fails with
 * `ConnectionError`. Nothing is sent twice, and a request that fails or is interrupted before it was sent is never sent. A
 * defect of the connection fails everything in flight with that defect, and the next request connects again. To a broker
 * that does not pipeline each request has a connection of its own, with the same limits and timeouts.
 */

import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as Frame from "../../protocol/Frame.ts"
import type { ConnectionError, MessageEncodeError, RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import type { Key } from "../../protocol/Retry.ts"
import type { Transport } from "../../transport/Transport.ts"
import * as Connections from "./connections.ts"
import type * as Exchange from "./exchange.ts"
import type { Pending, ResponseHandler } from "./pendingRequests.ts"

/** Why a request has no response. */
export type SendError = ConnectionError | RequestTimeoutError | MessageEncodeError

/** A request that has no response, and its idempotency key if it was passed to a connection for many requests. */
export interface Unanswered {
  readonly error: SendError
  readonly key: Key | undefined
}

/** Requests in flight together. */
export interface Pipeline {
  /** Whether the limit of unsent requests is reached. A request is accepted even beyond it; callers wait for room first. */
  readonly isFull: () => boolean
  /**
   * Waits for room, for a request of this command. Fails with `RequestTimeoutError` if no room is made for the whole
   * `requestTimeout`.
   */
  readonly waitForRoom: (command: string) => Effect.Effect<void, RequestTimeoutError>
  /**
   * Sends a command and waits for its response; connects first if there is no connection. Fails with `MessageEncodeError`
   * if the message cannot be sent, with `ConnectionError` if there is no connection or it is lost, and with
   * `RequestTimeoutError` if no response came in time. A response that arrives after an interruption is dropped.
   */
  readonly request: (frames: Frame.Frames) => Effect.Effect<Frame.Frames, Unanswered>
  /**
   * Sends a command at once, without a fiber, if there is a connection and the message can be sent. `undefined` means that
   * nothing was sent and the handler will not be called: use `request` then.
   */
  readonly requestUnsafe: (frames: Frame.Frames, handler: ResponseHandler) => Pending | undefined
  /** Cancels a request: its handler is not called any more, and if it is unsent, it is never sent. */
  readonly cancelUnsafe: (request: Pending) => void
  /** Whether the broker has shown so far that it is a Kosmonaut broker. */
  readonly isKosmonaut: () => boolean
}

/** The options of a pipeline. */
export interface Options {
  readonly transport: Transport["Service"]
  readonly endpoint: Endpoint
  /** How long to wait for a response, from the moment the request is made on an open connection. */
  readonly requestTimeout: Duration.Duration
  /** How much longer the response to these frames may take, in milliseconds. Default 0. */
  readonly extraTime?: ((frames: Frame.Frames) => number) | undefined
  /** How many requests may be unsent before it is full, default 10 000. */
  readonly maxQueuedRequests?: number | undefined
  /** How many bytes of memory they may take, default 16 MiB. */
  readonly maxQueuedBytes?: number | undefined
}

/** The idempotency key of a request. A connection for one request has none. */
export const keyOf = ({ connection, envelope }: Pending): Key | undefined =>
  connection === "" ? undefined : { connection, message: envelope }

/** Makes one, without a connection. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Pipeline, never, Scope.Scope> {
  const { endpoint, transport } = options
  const bound = {
    maxMessageSize: transport.maxMessageSize - Frame.envelopeSize,
    lines: endpoint.scheme.endsWith("+tcp")
  }
  const { connect, exchange, isKosmonaut, outlet } = yield* Connections.make({
    transport,
    endpoint,
    requestTimeout: options.requestTimeout,
    extraTime: options.extraTime ?? (() => 0),
    maxQueuedRequests: options.maxQueuedRequests ?? 10_000,
    maxQueuedBytes: options.maxQueuedBytes ?? 16 * 1_048_576,
    maxMessageSize: bound.maxMessageSize
  })

  const request = (outlet: Exchange.Outlet, frames: Frame.Frames) =>
    Effect.callback<Frame.Frames, Unanswered>((resume) => {
      const pending = exchange.requestUnsafe(outlet, frames, {
        onResponse: (response) => resume(Effect.succeed(response)),
        onFailure: (cause, failed) =>
          resume(Effect.failCause(Cause.map(cause, (error) => ({ error, key: keyOf(failed) }))))
      })
      return Effect.sync(() => exchange.cancelUnsafe(pending))
    })
  return {
    isFull: exchange.isFull,
    waitForRoom: exchange.waitForRoom,
    isKosmonaut,
    request: (frames) =>
      Effect.suspend(() => {
        const checked = Frame.check(frames, bound)
        if (Result.isFailure(checked)) return Effect.fail(unanswered(checked.failure))
        const open = outlet()
        return open === undefined
          ? Effect.flatMap(Effect.mapError(connect, unanswered), (opened) => request(opened, frames))
          : request(open, frames)
      }),
    requestUnsafe: (frames, handler) => {
      const open = outlet()
      if (open === undefined || Result.isFailure(Frame.check(frames, bound))) return undefined
      return exchange.requestUnsafe(open, frames, handler)
    },
    cancelUnsafe: exchange.cancelUnsafe
  }
})

const unanswered = (error: SendError): Unanswered => ({ error, key: undefined })
