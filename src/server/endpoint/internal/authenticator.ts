/**
 * The backends whose identity was authorized, by their connections.
 *
 * A connection is authorized once, and once more if its vhost or its access token was removed since. Its backend is removed when it ends.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Identity from "../../../protocol/Identity.ts"
import { UnauthorizedError } from "../../../protocol/KosmonautError.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import type * as ResponseCache from "../../engine/ResponseCache.ts"
import type { Vhost, Vhosts } from "../../engine/Vhosts.ts"
import type { VhostToken } from "../../engine/VhostTokens.ts"
import type * as ClientEvents from "./clientEvents.ts"

/** A backend that was authorized. */
export interface Backend {
  readonly kind: Identity.Kind
  readonly vhost: Vhost
  /** The access token that it has shown. */
  readonly token: VhostToken
  /** The id of its connection. */
  readonly id: string
  readonly connection: unknown
  /** Flushes and closes its connection. */
  readonly disconnect: Effect.Effect<void>
  /** Its cached responses, once there are any. */
  responses: ResponseCache.Connection | undefined
  /** Its requests for workers without a response, once there are any. */
  running: ClientEvents.Running | undefined
  /** Whether it is a worker that sent options with `RD`, and so supports our extensions of WebRocket 0.3. */
  supportsExtensions: boolean
}

/** The backends of one endpoint. */
export interface Authenticator {
  /** The backend of a connection, if it was authorized, and neither its vhost nor its token was removed. */
  readonly find: (peer: Peer) => Backend | undefined
  /** Authorizes a connection by its identity. */
  readonly authorize: (peer: Peer) => Effect.Effect<Backend, UnauthorizedError>
  /** The backends that have shown this access token. */
  readonly withToken: (token: VhostToken) => ReadonlyArray<Backend>
  /** Whether a connection is one of this endpoint's. */
  readonly has: (connection: unknown) => boolean
  /** Removes the backend of a connection, and returns it. */
  readonly remove: (peer: Peer) => Backend | undefined
}

/** Makes an authenticator without backends. */
export const make = (vhosts: Vhosts["Service"]): Authenticator => {
  const backends = new Map<unknown, Backend>()
  return {
    find: ({ connection }) => {
      const backend = backends.get(connection)
      return backend === undefined || backend.vhost.isRemoved() || backend.token.isRemoved() ? undefined : backend
    },
    authorize: ({ connection, disconnect, identity }) =>
      Effect.flatMap(decode(identity), (decoded) =>
        Effect.map(vhosts.authorize(decoded), (vhost) => {
          const { id, kind } = decoded
          const backend: Backend = {
            kind,
            vhost,
            token: vhost.tokens.find(decoded.token)!,
            id,
            connection,
            disconnect,
            responses: undefined,
            running: undefined,
            supportsExtensions: false
          }
          backends.set(connection, backend)
          return backend
        })),
    withToken: (token) => [...backends.values()].filter((backend) => backend.token === token),
    has: (connection) => backends.has(connection),
    remove: ({ connection }) => {
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
