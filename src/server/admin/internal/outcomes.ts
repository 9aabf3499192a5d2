/**
 * What the handlers of `AdminApi` have in common: they find a vhost, and fail with the errors of the API.
 */

import * as Effect from "effect/Effect"
import type { ChannelNotFoundError } from "../../../protocol/KosmonautError.ts"
import type * as Engine from "../../engine/Vhosts.ts"
import { ofView } from "../../engine/VhostViews.ts"
import { type Vhost, Vhosts } from "../../Vhosts.ts"
import * as Errors from "../AdminError.ts"

interface Failure {
  readonly message: string
}

const invalid = ({ message }: Failure) => new Errors.InvalidError({ message })

/** The error of the API for each of the engine. */
const errors = {
  ChannelNotFoundError: ({ channel }: ChannelNotFoundError) =>
    new Errors.NotFoundError({ message: `There is no channel ${quote(channel)}` }),
  InternalError: ({ message }: Failure) => new Errors.UnavailableError({ message }),
  InvalidChannelNameError: invalid,
  InvalidOptionError: invalid,
  InvalidVhostError: invalid,
  InvalidVhostTokenError: invalid,
  VhostExistsError: ({ message }: Failure) => new Errors.AlreadyExistsError({ message }),
  VhostNotFoundError: ({ message }: Failure) => new Errors.NotFoundError({ message })
}

type Answered<E> = E extends { readonly _tag: infer Tag extends keyof typeof errors } ? ReturnType<(typeof errors)[Tag]>
  : E

/** Fails with the errors of the API. */
export const answered = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Answered<E>, R> =>
  Effect.mapError(effect, (error) => {
    // The compiler cannot see that the error of a tag is that of its row.
    const { [error._tag]: make } = errors as unknown as { readonly [tag: string]: (error: E) => Answered<E> }
    return make === undefined ? error as Answered<E> : make(error)
  })

/** HTTP 404. */
export const notFound = (message: string) => Effect.fail(new Errors.NotFoundError({ message }))

/** Seconds of milliseconds, without fractions of a millisecond. */
export const seconds = (millis: number): number => Math.floor(millis) / 1000

/** A name that somebody else gave, for a message. */
export const quote = (name: string): string => JSON.stringify(name.slice(0, 130))

/** Does something with the vhost that has this path. */
export const inVhost = <A, E extends { readonly _tag: string }, R>(
  path: string,
  use: (vhost: Vhost) => Effect.Effect<A, E, R>
) => answered(Vhosts.use(({ get }) => Effect.flatMap(get(path), use)))

/** The same with the vhost as the engine has it. */
export const inEngine = <A, E extends { readonly _tag: string }, R>(
  path: string,
  use: (vhost: Engine.Vhost) => Effect.Effect<A, E, R>
) => inVhost(path, (vhost) => use(ofView(vhost)))
