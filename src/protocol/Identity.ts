/**
 * The identity that a backend socket sends: `[type]:[vhost]:[access token]:[id]`.
 *
 * The id is a fresh uuid for every connection. Over ZeroMQ the identity is the socket's routing id, over TCP the first
 * frame. (Source: WebRocket 0.3, `^(dlr|req):(/[\w\-]+(/[\w\-]+)*):([\w]{40}):([\w\-]{36})$`.)
 *
 * @since 0.1.0
 */

import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type Endpoint, isVhostPath } from "./Endpoint.ts"

/**
 * What a socket is for: `req` sends requests (a Client), `dlr` receives events (a Worker).
 *
 * @since 0.1.0
 */
export type Kind = "req" | "dlr"

/**
 * A backend socket's identity.
 *
 * @since 0.1.0
 */
export interface Identity {
  readonly kind: Kind
  readonly vhost: string
  readonly token: Redacted.Redacted
  /** 36 characters, a uuid. */
  readonly id: string
}

/**
 * The identity of a new connection to `endpoint`.
 *
 * @since 0.1.0
 */
export const make = (kind: Kind, endpoint: Endpoint, id: string): Identity => ({
  kind,
  vhost: endpoint.vhost,
  token: endpoint.token,
  id
})

/**
 * The identity on the wire. It contains the token, so it must not be logged.
 *
 * @since 0.1.0
 */
export const encode = (identity: Identity): string =>
  `${identity.kind}:${identity.vhost}:${Redacted.value(identity.token)}:${identity.id}`

/**
 * Reads an identity; `None` for anything that is not one.
 *
 * @since 0.1.0
 */
export const decode = (text: string): Option.Option<Identity> => {
  // The length first: no pattern is ever run over a megabyte.
  const match = text.length > 255 ? null : /^(dlr|req):([^:]+):(\w{40}):([\w-]{36})$/.exec(text)
  return match === null || !isVhostPath(match[2]!)
    ? Option.none()
    : Option.some({ kind: match[1] as Kind, vhost: match[2]!, token: Redacted.make(match[3]!), id: match[4]! })
}
