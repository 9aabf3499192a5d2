/**
 * Who the backends are: what is known of each connection whose identity was authorized.
 *
 * A connection is authorized once, and again if its vhost has been removed since. What is known of it is forgotten when it
 * ends.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Identity from "../../../protocol/Identity.ts"
import { UnauthorizedError } from "../../../protocol/KosmonautError.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import type * as Idempotency from "../../engine/Idempotency.ts"
import type { Vhost, Vhosts } from "../../engine/Vhosts.ts"

/** A backend that was authorized, and where. */
export interface Backend {
  readonly kind: Identity.Kind
  readonly vhost: Vhost
  /** The id of its connection. */
  readonly id: string
  /** The responses that are recorded for it, once there are any. */
  answers: Idempotency.Connection | undefined
  /** Whether it is a worker that has said something of itself, and so knows what was added to WebRocket 0.3. */
  knowsAdditions: boolean
}

/** The backends of one endpoint. */
export interface Authenticator {
  /** The backend of a connection, if it was authorized and its vhost is still there. */
  readonly find: (peer: Peer) => Backend | undefined
  /** Authorizes a connection by its identity. */
  readonly authorize: (peer: Peer) => Effect.Effect<Backend, UnauthorizedError>
  /** Whether a connection is one of this endpoint. */
  readonly has: (connection: unknown) => boolean
  /** Forgets a connection, and gives what was known of it. */
  readonly forget: (peer: Peer) => Backend | undefined
}

/** Makes an authenticator that knows nobody. */
export const make = (vhosts: Vhosts["Service"]): Authenticator => {
  const backends = new Map<unknown, Backend>()
  return {
    find: ({ connection }) => {
      const backend = backends.get(connection)
      return backend === undefined || backend.vhost.isRemoved() ? undefined : backend
    },
    authorize: ({ connection, identity }) =>
      Effect.flatMap(decode(identity), (decoded) =>
        Effect.map(vhosts.authorize(decoded), (vhost) => {
          const { id, kind } = decoded
          const backend: Backend = { kind, vhost, id, answers: undefined, knowsAdditions: false }
          backends.set(connection, backend)
          return backend
        })),
    has: (connection) => backends.has(connection),
    forget: ({ connection }) => {
      const backend = backends.get(connection)
      backends.delete(connection)
      return backend
    }
  }
}

const decode = (identity: string): Effect.Effect<Identity.Identity, UnauthorizedError> =>
  Option.match(Identity.decode(identity), {
    onNone: () => Effect.fail(new UnauthorizedError({ detail: "the identity is missing or malformed" })),
    onSome: Effect.succeed
  })
