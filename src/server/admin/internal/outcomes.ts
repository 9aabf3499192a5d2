/**
 * What the handlers of `AdminApi` have in common: they find a vhost, or fail with the errors of the API.
 */

import * as Effect from "effect/Effect"
import type * as Engine from "../../engine/Vhosts.ts"
import { ofView } from "../../engine/VhostViews.ts"
import { type Vhost, Vhosts } from "../../Vhosts.ts"
import * as Errors from "../AdminError.ts"

interface Failure {
  readonly message: string
}

/** HTTP 404. */
export const notFound = (message: string) => () => new Errors.NotFoundError({ message })

/** HTTP 400. */
export const invalid = ({ message }: Failure) => Effect.fail(new Errors.InvalidError({ message }))

/** HTTP 503. */
export const unavailable = ({ message }: Failure) => Effect.fail(new Errors.UnavailableError({ message }))

/** A name that somebody else gave, for a message. */
export const quote = (name: string): string => JSON.stringify(name.slice(0, 130))

/** The vhost with this path. */
export const find = (path: string): Effect.Effect<Vhost, Errors.NotFoundError, Vhosts> =>
  Vhosts.use(({ get }) => Effect.mapError(get(path), notFound(`There is no vhost ${quote(path)}`)))

/** The same as the engine has it. */
export const findEngine = (path: string): Effect.Effect<Engine.Vhost, Errors.NotFoundError, Vhosts> =>
  Effect.map(find(path), ofView)
