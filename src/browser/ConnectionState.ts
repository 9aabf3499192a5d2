/**
 * The state of a browser's connection.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"

/**
 * - `Connecting`: a connection is being opened. `attempt` counts from 0, which is the first since one was good.
 * - `Connected`: the broker has accepted it. `sid` is the connection's public name, by which backends send to this browser.
 *   `isAuthenticated` and the `uid`, if the broker tells it, change with the authentication.
 * - `Disconnected`: it could not be opened or was lost, by this close code (1006 if there was none). The next attempt is
 *   `retryAfter` from then, or earlier if the network comes back.
 * - `Closed`: it does not reconnect: the browser closed it (1000), or the broker did by a code that says so (4400 to 4499: for
 *   example 4403, a backend has disconnected this browser).
 *
 * @since 0.1.0
 */
export type ConnectionState = Data.TaggedEnum<{
  Connecting: { readonly attempt: number }
  Connected: { readonly sid: string; readonly isAuthenticated: boolean; readonly uid: string | undefined }
  Disconnected: { readonly code: number; readonly reason: string; readonly retryAfter: Duration.Duration }
  Closed: { readonly code: number; readonly reason: string }
}>

/**
 * Constructors and matchers of `ConnectionState`.
 *
 * @since 0.1.0
 */
export const ConnectionState = Data.taggedEnum<ConnectionState>()
