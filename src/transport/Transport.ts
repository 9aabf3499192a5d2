/**
 * How a backend reaches a broker: the contract that `Client` and `Worker` know, with drivers beside it.
 *
 * A transport carries messages and knows nothing of their meaning. It promises that nothing is sent twice, that what it
 * accepted but cannot answer fails with a typed error, and that closing a scope closes what was opened in it.
 *
 * @since 0.1.0
 */

import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Endpoint, Scheme } from "../protocol/Endpoint.ts"
import type { Frames } from "../protocol/Frame.ts"
import type { ConnectionError, MessageEncodeError, RequestTimeoutError } from "../protocol/KosmonautError.ts"

/**
 * The name under which a request was sent: that of its connection, and its own there. Filled in when it is sent.
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
   * in time. A request that fails or is interrupted before it was sent is never sent. A response that comes after an
   * interruption is dropped. `sent` receives the name under which the request was sent.
   */
  readonly request: (
    frames: Frames,
    sent?: Sent
  ) => Effect.Effect<Frames, MessageEncodeError | ConnectionError | RequestTimeoutError>
  /**
   * Whether the broker has shown, so far, that it is one of ours, which knows our additions. Absent in a transport that
   * cannot tell.
   */
  readonly supportsExtensions?: (() => boolean) | undefined
  /** The same for callers that make many requests, without a fiber's steps. Absent in a transport that has no such way. */
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
 * Room for requests that are not sent yet. A request is accepted even if there is none: it is the caller who waits first.
 *
 * @since 0.1.0
 */
export interface Room {
  /** Whether as many requests, or as many bytes of them, are unsent as may be. */
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
   * Sends a command at once, if there is a connection and the message can travel; `hearer` is called later with the outcome.
   * `false` says that nothing was sent and `hearer` will not be called: use `request` then.
   */
  readonly askUnsafe: (frames: Frames, sent: Sent, hearer: Hearer) => boolean
  /** Nobody waits any more for the response to the request of this name. If it is unsent, it is not sent any more. */
  readonly forgetUnsafe: (sent: Sent) => void
}

/**
 * Called with the outcome of a request. One of both is called, once.
 *
 * @since 0.1.0
 */
export interface Hearer {
  /** The response has come. */
  readonly answered: (frames: Frames) => void
  /** There will be none. A defect is the transport's. */
  readonly failed: (cause: Cause.Cause<ConnectionError | RequestTimeoutError>) => void
}

/**
 * One worker's connection, from its opening to its end. There is no reconnecting: a new session is a new connection with
 * a new identity.
 *
 * @since 0.1.0
 */
export interface Session {
  /** Sends a command, in order; it has been handed to the system then. */
  readonly send: (frames: Frames) => Effect.Effect<void, ConnectionError>
  /**
   * The next messages, in order. Fails once the connection has ended, after all that arrived before. Safe to interrupt:
   * the next pull gives what this one would have given. Nothing is read while nobody pulls, beyond a bounded amount.
   */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frames>, ConnectionError>
}

/**
 * A way to reach brokers.
 *
 * @since 0.1.0
 */
export class Transport extends Context.Service<Transport, {
  /** The URL schemes it speaks. */
  readonly schemes: ReadonlyArray<Scheme>
  /** A requester for `endpoint`; it connects at the first request. Its end fails what is in flight. */
  readonly requester: (endpoint: Endpoint, options: RequesterOptions) => Effect.Effect<Requester, never, Scope.Scope>
  /** Opens a worker's session. At its end what was sent is still handed to the system. */
  readonly session: (endpoint: Endpoint) => Effect.Effect<Session, ConnectionError, Scope.Scope>
}>()("kosmonaut/transport/Transport") {}

/**
 * What every driver can be told.
 *
 * @since 0.1.0
 */
export interface Options {
  /** The largest message in bytes, sent or read, default 1 MiB. */
  readonly maxMessageSize?: number | undefined
  /** How long opening a connection may take, default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
}
