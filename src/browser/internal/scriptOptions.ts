/**
 * The options of the script.
 */

import type { Token } from "./input.ts"

export type { Token } from "./input.ts"

/**
 * The options of a connection.
 *
 * @since 0.1.0
 */
export interface Options {
  /**
   * Gets a single access token from your backend, or `{ jwt }`, a stateless one, for each connection and before an
   * authentication ends. `undefined` if nobody is logged in. Without it there are only normal channels, and no triggers and
   * requests.
   */
  readonly token?: (() => Token | undefined | PromiseLike<Token | undefined>) | undefined
  /** How many milliseconds a call may take. Default 10 000. */
  readonly callTimeout?: number | undefined
}

/**
 * The options of a call.
 *
 * @since 0.1.0
 */
export interface CallOptions {
  /** How many milliseconds it may take, default `callTimeout` of the connection. */
  readonly timeout?: number | undefined
  /** Cancels it: what was not sent is not sent, and a request that no worker has begun is withdrawn. */
  readonly signal?: AbortSignal | undefined
}

/**
 * The options of a request.
 *
 * @since 0.1.0
 */
export interface RequestOptions extends CallOptions {
  /** The span of your page that it belongs to, as W3C trace context has it: the broker's span is a child of it. */
  readonly traceparent?: string | undefined
}

/**
 * The options of a trigger.
 *
 * @since 0.1.0
 */
export interface TriggerOptions extends RequestOptions {
  /**
   * While an event of the same user with this key is queued or in flight, another one is not queued, and this succeeds; 1 to 255
   * characters. Begin it with the event's name, since other events may have the same key.
   */
  readonly dedupeKey?: string | undefined
}
