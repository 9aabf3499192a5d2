/**
 * The options of a browser, and their defaults.
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { ReportedError } from "./BrowserError.ts"

/**
 * What a browser authenticates with: a single access token, which a Client has requested, or a stateless token (JWT).
 *
 * @since 0.1.0
 */
export type Token = string | Redacted.Redacted | { readonly jwt: string | Redacted.Redacted }

/**
 * The options of a browser.
 *
 * @since 0.1.0
 */
export interface Options<out E = unknown, out R = never> {
  /**
   * The vhost's URL, `wss://<host>:<port>/<vhost>`. `https:` stands for `wss:`, and a path alone is one of the document's host.
   */
  readonly url: string
  /**
   * Gets a single access token of the user from your backend, or `{ jwt }`, a stateless one that your backend or an identity
   * provider has signed; `undefined` if nobody is logged in. It runs for each connection, before an authentication ends
   * (`expiresIn` of the token, `exp` of a stateless one), and once more if the broker rejects a token. A failure is retried with
   * a backoff.
   */
  readonly token?: Effect.Effect<Token | undefined, E, R> | undefined
  /** Called with each error that no call and no subscription fails with, one at a time. Default: a warning in the log. */
  readonly onError?: ((error: ReportedError) => Effect.Effect<unknown, never, R>) | undefined
  /** After how long a call fails, default 10 seconds. */
  readonly callTimeout?: Duration.Input | undefined
  /** How long a connection may take to open, a token to be fetched and a subscription to be responded to, default 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The limit of the first backoff, of which a random part is waited, default 500 milliseconds. It doubles with each attempt. */
  readonly minBackoff?: Duration.Input | undefined
  /** The limit of all backoffs, default 20 seconds. */
  readonly maxBackoff?: Duration.Input | undefined
  /**
   * After how long without a message the broker is asked for a sign of life, unless the broker names another interval; default
   * 25 seconds. It has half of that to respond.
   */
  readonly pingInterval?: Duration.Input | undefined
  /** How many calls may be pending, default 1000. */
  readonly maxCalls?: number | undefined
  /** How many bytes pending calls may take, overhead included, default 8 MiB. */
  readonly maxCallBytes?: number | undefined
  /** How many bytes of events may wait for each consumer, overhead included, default 1 MiB. */
  readonly eventBuffer?: number | undefined
}
