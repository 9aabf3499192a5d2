/**
 * How a backend reaches a broker: the contract that `Client` and `Worker` know, with drivers beside it.
 *
 * A transport opens connections and carries messages on them, without knowing their meaning. It never reconnects, sends
 * nothing twice and waits for no response: all that is above the contract, and the same for every driver.
 *
 * @since 0.1.0
 */

import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Endpoint, Scheme } from "../protocol/Endpoint.ts"
import { defaultMaxMessageSize, type Frames } from "../protocol/Frame.ts"
import type { Kind } from "../protocol/Identity.ts"
import type { ConnectionError, InvalidOptionError } from "../protocol/KosmonautError.ts"
import { duration, integer } from "../protocol/Options.ts"

/**
 * A message: a command or a response with its arguments.
 *
 * @since 0.1.0
 */
export interface Message {
  /** The id of a request, which its response has too; empty for messages without a response. */
  readonly envelope: string
  readonly frames: Frames
}

/**
 * One connection, from its opening to its end. A new connection has a new identity.
 *
 * @since 0.1.0
 */
export interface Connection {
  /** The id of the connection, a uuid, which its identity has too. */
  readonly id: string
  /**
   * Whether it carries any number of requests, and responses have the envelope of their request. If not, it is for one
   * request, and its response has no envelope.
   */
  readonly pipelines: boolean
  /** Whether the broker has shown so far that it is a Kosmonaut broker. */
  readonly isKosmonaut: () => boolean
  /** Whether more than one message can be sent at a time. */
  readonly batches: () => boolean
  /**
   * How many messages are sent without waiting for more of the same turn, so that the broker begins with them meanwhile.
   */
  readonly enough: number
  /**
   * Sends messages, in order and after those before. They are encoded before this returns. `settled` is called once, now or
   * later: without an error when the system has accepted them. No pull ends within this call. More than one message needs
   * `batches`.
   */
  readonly sendUnsafe: (
    messages: Arr.NonEmptyReadonlyArray<Message>,
    settled: (error?: ConnectionError) => void
  ) => void
  /**
   * The next messages, in order. Fails once the connection has ended, after all messages that arrived before. Safe to
   * interrupt: the next pull returns the messages of the interrupted one. Without a pull only a bounded amount is read.
   */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Message>, ConnectionError>
}

/**
 * The options of a connection.
 *
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** `req` for a Client, `dlr` for a Worker. */
  readonly kind: Kind
  /**
   * Whether to offer the broker a connection for many requests, default `true`. `pipelines` of the connection is whether it
   * accepts. If it does not, the connection cannot be used: open one with `false` for each request.
   */
  readonly pipelines?: boolean | undefined
}

/**
 * A way to reach brokers.
 *
 * @since 0.1.0
 */
export class Transport extends Context.Service<Transport, {
  /** The URL schemes it supports. Messages of those that end with `+tcp` cannot have line breaks. */
  readonly schemes: ReadonlyArray<Scheme>
  /** The largest message in bytes, sent or read, with its identity or envelope. */
  readonly maxMessageSize: number
  /** How many connections a Client opens at a time to a broker that needs one for each request. */
  readonly maxConnections: number
  /**
   * Opens a connection. If that fails, no message was sent. When its scope ends, messages that were sent are flushed first.
   */
  readonly connect: (
    endpoint: Endpoint,
    options: ConnectOptions
  ) => Effect.Effect<Connection, ConnectionError, Scope.Scope>
}>()("kosmonaut/transport/Transport") {}

/**
 * Sends one message without an envelope, and waits until the system has accepted it.
 *
 * @since 0.1.0
 */
export const send = (connection: Connection, frames: Frames): Effect.Effect<void, ConnectionError> =>
  Effect.callback((resume) =>
    connection.sendUnsafe(
      [{ envelope: "", frames }],
      (error) => resume(error === undefined ? Effect.void : Effect.fail(error))
    )
  )

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

/**
 * How many connections a Client opens at a time to a broker that needs one for each request, by default.
 *
 * @since 0.1.0
 */
export const defaultMaxConnections = 64
