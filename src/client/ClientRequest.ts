/**
 * What the requests of a Client take, give and fail with. Part of `Client`.
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type * as ChannelName from "../protocol/ChannelName.ts"
import type * as Json from "../protocol/Json.ts"
import type {
  ChannelNotFoundError,
  ConnectionError,
  DeadlineExceededError,
  HandlerFailedError,
  NoWorkerError,
  ProtocolError,
  RequestTimeoutError,
  UnauthorizedError
} from "../protocol/KosmonautError.ts"

/**
 * What can happen to every request: the access token is rejected (`UnauthorizedError`), the broker cannot be reached or the
 * connection is lost (`ConnectionError`), no response comes in time (`RequestTimeoutError`), or anything else
 * (`ProtocolError`, by its `reason`).
 *
 * @since 0.1.0
 */
export type RequestError = UnauthorizedError | ConnectionError | RequestTimeoutError | ProtocolError

/**
 * Which browsers do not receive a broadcast.
 *
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** The `sid` of one browser on the channel that does not receive it, usually the one that caused it. */
  readonly exceptSid?: string | undefined
}

/**
 * What can happen to a request to a worker: no worker takes it (`NoWorkerError`), its handler failed with something that it
 * does not declare (`HandlerFailedError`), no worker responded in time (`DeadlineExceededError`), or what can happen to every
 * request of a Client.
 *
 * @since 0.1.0
 */
export type CallError = RequestError | NoWorkerError | HandlerFailedError | DeadlineExceededError

/**
 * The options of a request to a worker.
 *
 * @since 0.1.0
 */
export interface RequestOptions {
  /** How long a worker may take to respond, from 1 millisecond to one hour, default 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * The options of an event for workers.
 *
 * @since 0.1.0
 */
export interface TriggerOptions {
  /** When it is delivered for the first time, default at once, at most 30 days from now. */
  readonly delay?: Duration.Input | undefined
  /**
   * While an event with this key is queued or in flight, another one is not enqueued; at most 255 characters. Default for a
   * declared event: its name and its `primaryKey`, if it has one.
   */
  readonly dedupeKey?: string | undefined
}

/**
 * What a single access token is requested for.
 *
 * `subscribe`, `info` and `expiresIn` are additions to WebRocket 0.3. A broker that does not know them issues no token: the
 * request fails with the reason `BadRequestError`.
 *
 * @since 0.1.0
 */
export interface TokenOptions {
  /** The user, not empty. */
  readonly uid: string
  /** The private and presence channels that the user may join, default none beside `subscribe`. Their names are quoted for you. */
  readonly channels?: ReadonlyArray<ChannelLike> | undefined
  /** Those whose whole name matches this pattern of RE2, too. Quote names in it with `Channel.quote`. */
  readonly pattern?: string | undefined
  /**
   * The channels to which the broker subscribes the browser when it authenticates, which the user may join; at most 100,
   * default none.
   */
  readonly subscribe?: ReadonlyArray<ChannelLike> | undefined
  /**
   * What you say about the user, for the others on presence channels: an object of at most 4096 bytes of JSON. The user cannot
   * change it.
   */
  readonly info?: object | undefined
  /**
   * After how long the token, and the authentication of the browser that has used it, end; from 1 millisecond to 30 days. The
   * library of browsers requests another token before. Default: a token ends after the broker's `tokens.timeToLive`, and the
   * authentication with the connection.
   */
  readonly expiresIn?: Duration.Input | undefined
}

/**
 * One broadcast of many.
 *
 * @since 0.1.0
 */
export interface Broadcast extends BroadcastOptions {
  readonly channel: string
  readonly event: string
  /** Anything whose JSON is an object, default `{}`. */
  readonly data?: object | undefined
}

/**
 * What can happen to one broadcast of many.
 *
 * @since 0.1.0
 */
export type BroadcastError = ChannelNotFoundError | ProtocolError

/**
 * An open channel.
 *
 * @since 0.1.0
 */
export interface ChannelInfo {
  readonly name: string
  readonly kind: ChannelName.Kind
  /** How many browsers are on it, hidden ones too. */
  readonly subscribers: number
}

/**
 * A browser that is subscribed to a channel and not hidden.
 *
 * @since 0.1.0
 */
export interface Subscriber extends MemberConnection {
  /** The user, on private and presence channels. A user with two browsers is there twice. */
  readonly uid: string | undefined
}

/**
 * A connection of a browser, and what is known of its user.
 *
 * @since 0.1.0
 */
export interface MemberConnection {
  /** The name of the connection, for `sendTo`. */
  readonly sid: string
  /** What you have said about the user in the token, on private and presence channels. The user cannot change it. */
  readonly info: Json.JsonObject | undefined
  /** The `data` that the browser has sent for the other members. The broker vouches for the `uid` and the `info` alone. */
  readonly data: Json.JsonObject
  /** The connection was lost a moment ago and may come back; until then its user is a member of a presence channel. */
  readonly isAway: boolean
}

/**
 * A user on a private or presence channel. `info` and `data` are those of the user's latest connection.
 *
 * @since 0.1.0
 */
export interface Member {
  readonly uid: string
  /** What you have said about the user in the token. */
  readonly info: Json.JsonObject | undefined
  /** What the user's browser has sent for the other members. */
  readonly data: Json.JsonObject
  /** The user's connections that are not hidden, in the order of their subscribing: at least one. */
  readonly connections: ReadonlyArray<MemberConnection>
}

/**
 * A broadcast that a channel with history retains.
 *
 * @since 0.1.0
 */
export interface Retained {
  /** Where it is in the log of the vhost. Later broadcasts have larger positions. */
  readonly position: number
  /** The name of the event. */
  readonly event: string
  /** The data as browsers received them, with the broker's keys `channel` and `sid`. */
  readonly data: Json.JsonObject
  /** The browser that sent it; `undefined` for a broadcast of a backend. */
  readonly sid: string | undefined
}

/**
 * Which broadcasts of a channel's history are wanted.
 *
 * @since 0.1.0
 */
export interface HistoryOptions {
  /** Only those after this position, default 0: all that are retained. */
  readonly after?: number | undefined
  /** How many at most, the oldest first; default all. */
  readonly limit?: number | undefined
}

/**
 * A channel by its name, or as it is declared.
 *
 * @since 0.1.0
 */
export type ChannelLike = string | Channel.Any

/**
 * Events that have a response.
 *
 * @since 0.1.0
 */
export type Requestable<E extends Event.Any> = Event.IsRequest<E> extends true ? unknown
  : "This event has no response: use trigger"

/**
 * Events without a response.
 *
 * @since 0.1.0
 */
export type Triggerable<E extends Event.Any> = Event.IsRequest<E> extends true ? "This event is a request: use request"
  : unknown
