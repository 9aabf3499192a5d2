/**
 * The port of a registry of vhosts: which there are, with their access tokens and the rules of their channels. Several nodes may
 * share one. What happens in a vhost is not here, but in its log and its queue.
 *
 * A change says which version of a vhost it is for, and is made only if that is the last one. So whoever decides by what it knows
 * never undoes what somebody else has done meanwhile: it reads again, and decides again.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { InternalError } from "../../protocol/KosmonautError.ts"

/**
 * What can be changed of a vhost.
 *
 * @since 0.1.0
 */
export interface Settings {
  /** Its access tokens, at least one, the current one first. */
  readonly tokens: ReadonlyArray<Redacted.Redacted>
  /** The rules of its channels as text, see `ChannelRules.toText`; `undefined` if it has none of its own. */
  readonly rules: string | undefined
}

/**
 * A vhost that is registered.
 *
 * @since 0.1.0
 */
export interface Registered extends Settings {
  /** The number of its last change, at least 1. A later change of any vhost has a higher one. */
  readonly version: number
  /** That of the change that has added it. Another vhost that gets the same path has another one. */
  readonly created: number
}

/**
 * The vhosts that several nodes share. A broker without this service is alone, and has a registry of its own.
 *
 * @since 0.1.0
 */
export class SharedVhosts extends Context.Service<SharedVhosts, {
  /** All vhosts by their paths, in the order of their creation. */
  readonly load: Effect.Effect<ReadonlyMap<string, Registered>, InternalError>
  /**
   * Adds a vhost, whose `version` is 0 before that, changes its settings, or removes it if these are `undefined`. Returns the number
   * of the change, or `undefined`, and changes nothing, if the vhost has another version. If it fails it may have been made.
   */
  readonly change: (
    path: string,
    version: number,
    settings: Settings | undefined
  ) => Effect.Effect<number | undefined, InternalError>
  /**
   * Calls a listener after changes, those of this node too. Some may be missed when a connection is lost. Returns a function that
   * removes it.
   */
  readonly onChangeUnsafe: (listener: () => void) => () => void
}>()("kosmonaut/server/engine/SharedVhosts") {}
