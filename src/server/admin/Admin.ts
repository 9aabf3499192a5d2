/**
 * Where the admin endpoint of a broker is, and what it asks for. A broker without one has none of both.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Redacted from "effect/Redacted"

/**
 * The admin endpoint.
 *
 * @since 0.1.0
 */
export interface Bound {
  /** Its address, `http://127.0.0.1:8082`. */
  readonly address: string
  readonly port: number
  /** What a request must have as the header `X-WebRocket-Cookie`. */
  readonly cookie: Redacted.Redacted
}

/**
 * The admin endpoint of a broker, `undefined` if it has none.
 *
 * @since 0.1.0
 */
export class Admin extends Context.Service<Admin, { readonly bound: Bound | undefined }>()(
  "kosmonaut/server/admin/Admin"
) {}
