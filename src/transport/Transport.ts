/**
 * How a backend reaches a broker: the contract that `Client` and `Worker` know, with drivers beside it.
 *
 * A transport carries messages and knows nothing of their meaning. It promises that nothing is sent twice, that what it
 * accepted but cannot answer fails with a typed error, and that closing a scope closes what was opened in it.
 *
 * @since 0.1.0
 */

import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Endpoint, Scheme } from "../protocol/Endpoint.ts"
import type { Frames } from "../protocol/Frame.ts"
import type { ConnectionError, MessageEncodeError, RequestTimeoutError } from "../protocol/KosmonautError.ts"

/**
 * Under which name a request was sent, where our broker can know it by one: that of its connection, and its own there.
 *
 * @since 0.1.0
 */
export interface Sent {
  connection: string | undefined
  message: string
}

/**
 * Asks: any number of requests at once, answered in any order.
 *
 * @since 0.1.0
 */
export interface Requester {
  /**
   * Sends a command and waits for its answer, both without identity or envelope.
   *
   * Connects first where there is no connection. Fails with `MessageEncodeError` when the message cannot travel (nothing
   * was sent), with `ConnectionError` when there is no connection or it is lost, with `RequestTimeoutError` when no answer
   * came in time. An answer that comes after an interruption is dropped. `sent` hears under which name it was sent.
   */
  readonly request: (
    frames: Frames,
    sent?: Sent
  ) => Effect.Effect<Frames, MessageEncodeError | ConnectionError | RequestTimeoutError>
  /**
   * Whether the broker has shown, so far, that it is one of ours, which knows our additions. Absent in a transport that
   * cannot tell.
   */
  readonly knowsAdditions?: (() => boolean) | undefined
  /** The same for whoever makes many requests, without a fiber's steps. Absent in a transport that has no such way. */
  readonly direct?: Direct | undefined
}

/**
 * Asks on a connection that is there.
 *
 * @since 0.1.0
 */
export interface Direct {
  /**
   * Sends a command at once, if there is a connection and the message can travel; `hearer` hears later what becomes of it.
   * `false` says that nothing was sent and nothing will be heard: `request` knows what to do then.
   */
  readonly askUnsafe: (frames: Frames, sent: Sent, hearer: Hearer) => boolean
  /** Nobody wants to hear any more what becomes of what was sent under this name. */
  readonly forgetUnsafe: (sent: Sent) => void
}

/**
 * Who waits for an answer. One of both is called, once.
 *
 * @since 0.1.0
 */
export interface Hearer {
  /** The answer has come. */
  readonly answered: (frames: Frames) => void
  /** None will. */
  readonly failed: (error: ConnectionError | RequestTimeoutError) => void
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
  /** A requester for `endpoint`; it connects when first asked. Its end fails what is in flight. */
  readonly requester: (endpoint: Endpoint, options: {
    /** How long to wait for an answer, from the moment the request is sent. */
    readonly requestTimeout: Duration.Duration
  }) => Effect.Effect<Requester, never, Scope.Scope>
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
