/**
 * The vhosts of a running broker, to administer it from within: add and remove vhosts, open and close their channels, issue
 * tokens, and look at what is queued and what has failed.
 *
 * A change is persisted when its effect succeeds; it fails with `InternalError` if that is not possible, and may have happened
 * all the same. In a cluster it is made for all nodes, each of which has it a moment later. Clients can do the same from elsewhere,
 * with the access token of a vhost.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as ChannelName from "../protocol/ChannelName.ts"
import type * as Json from "../protocol/Json.ts"
import type { ChannelNotFoundError, InternalError, InvalidChannelNameError } from "../protocol/KosmonautError.ts"
import type { ChannelRule, VhostOptions } from "./BrokerConfig.ts"
import type {
  InvalidOptionError,
  InvalidVhostError,
  InvalidVhostTokenError,
  VhostExistsError,
  VhostNotFoundError
} from "./BrokerError.ts"

/**
 * An open channel.
 *
 * @since 0.1.0
 */
export interface Channel {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many browsers are subscribed to it, hidden ones too. */
  readonly subscribers: number
}

/**
 * An event that failed too often.
 *
 * @since 0.1.0
 */
export interface DeadLetter {
  /** The id of the event in its vhost, the same that its handlers had. */
  readonly id: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** How often it was delivered. */
  readonly attempts: number
  /** Why it failed, as the worker or the broker reported it, at most 500 characters. */
  readonly reason: string
  /** When it became a dead letter, in whole milliseconds since 1970. */
  readonly failedAt: number
}

/**
 * How many of each there are now in a vhost.
 *
 * @since 0.1.0
 */
export interface Counts {
  /** Browsers that are connected. */
  readonly browsers: number
  /** Workers that are connected. */
  readonly workers: number
  /** Channels that are open. */
  readonly channels: number
  /** Subscriptions of browsers to channels. */
  readonly subscriptions: number
  /** Events that are queued, lifecycle events included. */
  readonly queued: number
  /** Events that are delivered and not acked. */
  readonly unacked: number
  /** Dead letters. */
  readonly deadLetters: number
}

/**
 * What a single access token grants beside its user and its pattern.
 *
 * @since 0.1.0
 */
export interface TokenOptions {
  /** The channels to which the broker subscribes the browser when it authenticates, at most 100; default none. */
  readonly subscribe?: ReadonlyArray<string> | undefined
  /** What the backend says about the user, for the others on presence channels: at most 4096 bytes of JSON. */
  readonly info?: Json.JsonObject | undefined
  /** After how long the grant ends, used or not, from 1 millisecond to 30 days; default when the connection ends. */
  readonly expiresIn?: Duration.Input | undefined
}

/**
 * One vhost, which exists until it is removed.
 *
 * @since 0.1.0
 */
export interface Vhost {
  readonly path: string
  /** The access token that its backends authenticate with: the current one, if there are several. */
  readonly token: Redacted.Redacted
  /** All its access tokens, the current one first. */
  readonly tokens: Effect.Effect<ReadonlyArray<Redacted.Redacted>>
  /** What there is now. */
  readonly counts: Effect.Effect<Counts>
  /**
   * Issues a single access token for `uid`, for channels whose whole name matches `pattern`, and grants what the options say.
   * Fails if an option or the pattern is invalid or too large, or if too many tokens are unused.
   */
  readonly issueToken: (
    uid: string,
    pattern: string,
    options?: TokenOptions
  ) => Effect.Effect<Redacted.Redacted, InternalError>
  /**
   * Revokes the single access tokens of a user with which no browser has authenticated yet, and returns how many there were.
   */
  readonly revokeTokens: (uid: string) => Effect.Effect<number, InternalError>
  readonly channels: {
    /** Opens a channel; `false` says that it was open already. */
    readonly open: (name: string) => Effect.Effect<boolean, InvalidChannelNameError | InternalError>
    /** Closes a channel; its subscribers receive `:unsubscribed`. */
    readonly close: (name: string) => Effect.Effect<void, ChannelNotFoundError | InternalError>
    /** The open channels, in the order of their opening. Fails only if several brokers share them, and Redis cannot be reached. */
    readonly list: Effect.Effect<ReadonlyArray<Channel>, InternalError>
  }
  /** The rules of its channels, without those of the broker, which come after them. */
  readonly channelRules: Effect.Effect<ReadonlyArray<ChannelRule>>
  /**
   * Sets the rules of its channels. They apply to channels that are open, too: subscribers stay, and what is retained beyond
   * new limits is dropped. With storage they outlast the broker, unless its options have other rules for this vhost. Fails if a
   * rule is wrong, and changes nothing then.
   */
  readonly setChannelRules: (
    rules: ReadonlyArray<ChannelRule>
  ) => Effect.Effect<void, InvalidOptionError | InternalError>
  readonly deadLetters: {
    /** All of them, the oldest first. */
    readonly list: Effect.Effect<ReadonlyArray<DeadLetter>, InternalError>
    /**
     * Replays one as a new event without attempts; `false` if none has this id. If the queue is full it fails, and the dead
     * letter stays.
     */
    readonly replay: (id: string) => Effect.Effect<boolean, InternalError>
    /** Replays all, the oldest first, until the queue is full: how many were replayed, and how many are left. */
    readonly replayAll: Effect.Effect<{ readonly replayed: number; readonly left: number }, InternalError>
    /** Deletes one; `false` if none has this id. */
    readonly discard: (id: string) => Effect.Effect<boolean, InternalError>
    /** Deletes all, and returns how many. */
    readonly discardAll: Effect.Effect<number, InternalError>
  }
}

/**
 * The vhosts of a running broker.
 *
 * @since 0.1.0
 */
export class Vhosts extends Context.Service<Vhosts, {
  /** Adds a vhost, with a random access token unless one is given. It also fails if the vhost cannot be persisted yet. */
  readonly add: (
    options: VhostOptions
  ) => Effect.Effect<Vhost, InvalidVhostError | VhostExistsError | InvalidChannelNameError | InternalError>
  /** Removes a vhost: dismisses its workers, disconnects its browsers, and deletes its events. */
  readonly remove: (path: string) => Effect.Effect<void, VhostNotFoundError | InternalError>
  /**
   * Adds an access token to a vhost, by default a random one; a vhost has at most 10. With several, tokens are rotated without
   * a pause: add one, give it to all backends, then remove the old one. The one that is left first is the current one.
   */
  readonly addToken: (
    path: string,
    token?: string | Redacted.Redacted
  ) => Effect.Effect<Redacted.Redacted, VhostNotFoundError | InvalidVhostTokenError | InternalError>
  /**
   * Removes an access token of a vhost; `false` if the vhost does not have it. Connections of backends that authenticated with
   * it are ended, and their unacknowledged events are redelivered. Browsers and their single access tokens stay. Fails for the
   * only token of a vhost.
   */
  readonly removeToken: (
    path: string,
    token: string | Redacted.Redacted
  ) => Effect.Effect<boolean, VhostNotFoundError | InvalidVhostTokenError | InternalError>
  /**
   * Replaces all access tokens of a vhost by one new random one, for example because one was leaked. Connections of all backends
   * are ended, as by `removeToken`, and they connect again when they have the new one.
   */
  readonly regenerateToken: (path: string) => Effect.Effect<Redacted.Redacted, VhostNotFoundError | InternalError>
  /** The vhost with this path. */
  readonly get: (path: string) => Effect.Effect<Vhost, VhostNotFoundError>
  /** All vhosts, in the order of their creation. */
  readonly list: Effect.Effect<ReadonlyArray<Vhost>>
}>()("kosmonaut/server/Vhosts") {}
