/**
 * How a backend reaches a broker: the contract that `Client` and `Worker` know, with drivers beside it.
 *
 * A transport carries messages and does not know their meaning. It sends nothing twice; a request that it accepted and that
 * gets no response fails with a typed error; and closing a scope closes everything that was opened in it.
 *
 * @since 0.1.0
 */

import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Endpoint, Scheme } from "../protocol/Endpoint.ts"
import { defaultMaxMessageSize, type Frames } from "../protocol/Frame.ts"
import type {
  ConnectionError,
  InvalidOptionError,
  MessageEncodeError,
  RequestTimeoutError
} from "../protocol/KosmonautError.ts"
import { duration, integer } from "../protocol/Options.ts"

/**
 * Where a request was sent: the id of its connection, and its message id there. Filled in when the request is sent.
 *
 * @since 0.1.0
 */
export interface Sent {
  connection: string | undefined
  message: string
}

/**
 * Sends requests: any number at once, with responses in any order.
 *
 * @since 0.1.0
 */
export interface Requester {
  /**
   * Sends a command and waits for its response, both without identity or envelope.
   *
   * Connects first if there is no connection. Fails with `MessageEncodeError` if the message cannot travel (nothing was
   * sent), with `ConnectionError` if there is no connection or it is lost, with `RequestTimeoutError` if no response came
   * in time. A request that fails or is interrupted before it was sent is never sent. A response that arrives after an
   * interruption is dropped. `sent` is filled in when the request is sent.
   */
  readonly request: (
    frames: Frames,
    sent?: Sent
  ) => Effect.Effect<Frames, MessageEncodeError | ConnectionError | RequestTimeoutError>
  /**
   * Whether the broker has shown so far that it is one of ours and supports our extensions. Absent in a transport that cannot
   * tell.
   */
  readonly supportsExtensions?: (() => boolean) | undefined
  /** A faster way for callers that make many requests, without the steps of a fiber. Absent in transports without one. */
  readonly direct?: Direct | undefined
  /** The limit of unsent requests. Absent in a transport that sends each request at once. */
  readonly room?: Room | undefined
}

/**
 * The limits of a `Requester`.
 *
 * @since 0.1.0
 */
export interface RequesterOptions {
  /** How long to wait for a response, from the moment the request is made on an open connection. */
  readonly requestTimeout: Duration.Duration
  /** How many requests may be unsent before `room` is full, default 10 000. */
  readonly maxQueuedRequests?: number | undefined
  /** How many bytes of memory they may take, default 16 MiB. */
  readonly maxQueuedBytes?: number | undefined
}

/**
 * The default limits of unsent requests.
 *
 * @since 0.1.0
 */
export const defaultLimits = { maxQueuedRequests: 10_000, maxQueuedBytes: 16 * 1_048_576 } as const

/**
 * The limit of unsent requests. A request is accepted even beyond it; the caller waits for room first.
 *
 * @since 0.1.0
 */
export interface Room {
  /** Whether the limit of requests or of bytes is reached. */
  readonly isFull: () => boolean
  /**
   * Waits for room, for a request of this command. Fails with `RequestTimeoutError` if there is none for the whole
   * `requestTimeout`.
   */
  readonly wait: (command: string) => Effect.Effect<void, RequestTimeoutError>
}

/**
 * Sends requests on a connection that is open.
 *
 * @since 0.1.0
 */
export interface Direct {
  /**
   * Sends a command at once, if there is a connection and the message can travel; `handler` is called later with the outcome.
   * `false` says that nothing was sent and `handler` will not be called: use `request` then.
   */
  readonly requestUnsafe: (frames: Frames, sent: Sent, handler: ResponseHandler) => boolean
  /** Cancels a request: its handler is not called any more, and if it is unsent, it is never sent. */
  readonly cancelUnsafe: (sent: Sent) => void
}

/**
 * Handles the outcome of a request. Exactly one of the two functions is called, once.
 *
 * @since 0.1.0
 */
export interface ResponseHandler {
  /** The response has come. */
  readonly onResponse: (frames: Frames) => void
  /** There will be no response. A defect is the transport's. */
  readonly onFailure: (cause: Cause.Cause<ConnectionError | RequestTimeoutError>) => void
}

/**
 * One worker's connection, from its opening to its end. There is no reconnecting: a new session is a new connection with
 * a new identity.
 *
 * @since 0.1.0
 */
export interface Session {
  /** Sends a command, in order, and ends when the system has accepted it. */
  readonly send: (frames: Frames) => Effect.Effect<void, ConnectionError>
  /**
   * The next messages, in order. Fails once the connection has ended, after all messages that arrived before. Safe to
   * interrupt: the next pull returns the messages of the interrupted one. Without a pull only a bounded amount is read.
   */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frames>, ConnectionError>
}

/**
 * A way to reach brokers.
 *
 * @since 0.1.0
 */
export class Transport extends Context.Service<Transport, {
  /** The URL schemes it supports. */
  readonly schemes: ReadonlyArray<Scheme>
  /** A requester for `endpoint`. It connects with the first request. When its scope ends, requests in flight fail. */
  readonly requester: (endpoint: Endpoint, options: RequesterOptions) => Effect.Effect<Requester, never, Scope.Scope>
  /** Opens a worker's session. When its scope ends, messages that were sent are flushed first. */
  readonly session: (endpoint: Endpoint) => Effect.Effect<Session, ConnectionError, Scope.Scope>
}>()("kosmonaut/transport/Transport") {}

/**
 * Checks the options of every driver.
 *
 * @internal
 */
export const check = (
  { maxMessageSize = defaultMaxMessageSize, openTimeout = "5 seconds" }: Options
): Result.Result<unknown, InvalidOptionError> =>
  Result.andThen(integer("maxMessageSize", maxMessageSize, 512), () => duration("openTimeout", openTimeout))

/**
 * The options of every driver.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The largest message in bytes, sent or read, from 512, default 1 MiB. */
  readonly maxMessageSize?: number | undefined
  /** How long opening a connection may take, default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
}
