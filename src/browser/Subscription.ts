/**
 * A subscription to a channel as a program has it: its events, its members and its state.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Event from "../events/Event.ts"
import type { JsonObject } from "../protocol/Json.ts"
import type { SubscribeError, UpdateError } from "./BrowserError.ts"

/**
 * Declared events, by their names in their groups.
 *
 * @since 0.1.0
 */
export type Events = { readonly [name: string]: Event.Any }

/**
 * An event as a browser receives it.
 *
 * @since 0.1.0
 */
export interface BrowserEvent<out Name extends string = string, out Payload = unknown> {
  /** Its name in its group. */
  readonly event: Name
  /** Its data, decoded by its Schema. */
  readonly data: Payload
  /** The data as they were received, with the keys of the broker. */
  readonly raw: JsonObject
  /** The channel that it was broadcast on; `undefined` for an event that was sent to this browser or its user. */
  readonly channel: string | undefined
  /** The connection of the browser that broadcast it; `undefined` for an event of a backend. */
  readonly sid: string | undefined
  /** Where the subscription is with this event; `undefined` on a channel without history. */
  readonly cursor: Cursor | undefined
}

/**
 * A place among the broadcasts of a channel with history. Keep it, as JSON, to subscribe after it later, for example when the page
 * was reloaded: `browser.subscribe(channel, { since })`.
 *
 * @since 0.1.0
 */
export interface Cursor {
  /** The log that the position is of. */
  readonly epoch: string
  readonly position: number
  /** The connection that was there. */
  readonly sid: string
}

/**
 * Broadcasts of a channel with history that were missed, and cannot be recovered.
 *
 * @since 0.1.0
 */
export interface Gap {
  /**
   * Why: the broker has begun anew (`epoch`), it retains only the last broadcasts (`dropped`), or the channel was closed and
   * opened again (`closed`).
   */
  readonly reason: "epoch" | "dropped" | "closed"
}

/**
 * Any of these events, a union that `event` discriminates.
 *
 * @since 0.1.0
 */
export type AnyOf<E extends Events> = {
  readonly [Name in keyof E & string]: BrowserEvent<Name, Event.Payload<E[Name]>>
}[keyof E & string]

/**
 * Handlers of some of these events. A handler may fail: that is reported to `onError`, and the next event is handled.
 *
 * @since 0.1.0
 */
export type Handlers<E extends Events> = {
  readonly [Name in keyof E & string]?: (
    data: Event.Payload<E[Name]>,
    event: BrowserEvent<Name, Event.Payload<E[Name]>>
  ) => Effect.Effect<unknown, unknown, unknown>
}

/**
 * Handlers, checked: a handler for an unknown event has a type that explains the error.
 *
 * @since 0.1.0
 */
export type Checked<E extends Events, H> = {
  readonly [Name in keyof H]: Name extends keyof E ? H[Name] : "There is no such event"
}

/**
 * The services that handlers need.
 *
 * @since 0.1.0
 */
export type Services<H> = H[keyof H] extends infer Handler
  ? Handler extends (...args: never) => Effect.Effect<unknown, unknown, infer R> ? R : never
  : never

/**
 * A user on a presence channel. `info` and `data` are those of the user's latest connection.
 *
 * @since 0.1.0
 */
export interface Member {
  readonly uid: string
  /** What your backend has said of the user in the token: the broker vouches for it. */
  readonly info: JsonObject | undefined
  /** What the user's browser has said of itself: a claim. */
  readonly data: JsonObject
  /** The user's connections that are subscribed, hidden ones not counted, in the order in which they joined: at least one. */
  readonly connections: ReadonlyArray<MemberConnection>
}

/**
 * A connection of a user on a presence channel: a tab, a window, a device.
 *
 * @since 0.1.0
 */
export interface MemberConnection {
  /** Its name; `undefined` with a broker that is older than this library. */
  readonly sid: string | undefined
  /** What your backend has said of the user in the token. */
  readonly info: JsonObject | undefined
  /**
   * What the browser has said of itself, when it subscribed or by `update`. With a broker that is older than this library it has
   * the keys `channel` and `uid`, too.
   */
  readonly data: JsonObject
}

/**
 * The state of a subscription.
 *
 * - `Subscribing`: it waits for the connection, for the authentication or for the broker's response.
 * - `Subscribed`: events arrive. `uid` is the own user's, on private and presence channels. `cursor` is where they begin, on
 *   channels with history.
 * - `Failed`: the broker rejected it, for this reason. With `isRetried` it is tried again after a backoff, and otherwise with the
 *   next connection.
 * - `Unsubscribed`: its scope has ended.
 *
 * @since 0.1.0
 */
export type State = Data.TaggedEnum<{
  Subscribing: {}
  Subscribed: { readonly uid: string | undefined; readonly cursor: Cursor | undefined }
  Failed: { readonly error: SubscribeError; readonly isRetried: boolean }
  Unsubscribed: {}
}>

/**
 * Constructors and matchers of `State`.
 *
 * @since 0.1.0
 */
export const State = Data.taggedEnum<State>()

/**
 * A value that changes.
 *
 * @since 0.1.0
 */
export interface Latest<out A> {
  /** The value now. */
  readonly get: Effect.Effect<A>
  /** The value now, and each change. A slow reader skips values and gets the latest one. It ends with the subscription. */
  readonly changes: Stream.Stream<A>
}

/**
 * A subscription, until its scope ends. It outlasts reconnecting: the browser subscribes again by itself.
 *
 * What was broadcast meanwhile on a channel with history (`history` of the broker) arrives first, in order and once; if it cannot,
 * there is a gap. On other channels it is missing.
 *
 * @since 0.1.0
 */
export interface Subscription<E extends Events> {
  /** The channel's name. */
  readonly channel: string
  /**
   * The events of the channel that are declared, in order. Each run of the stream has a buffer of its own, of `eventBuffer`
   * bytes; if it is full, the oldest events are dropped, and `onError` is called with `EventsDroppedError`. An event that does
   * not fit its Schema is left out, and `onError` is called with `MessageDecodeError`.
   *
   * Events that arrived since the subscription began are kept, within the same limit, for the first stream or handler that wants
   * them.
   */
  readonly events: Stream.Stream<AnyOf<E>>
  /**
   * Handles events, one after the other, until the scope ends; by handlers, or by the name of an event and its handler.
   */
  readonly on: {
    <const Name extends keyof E & string, R>(
      event: Name,
      handler: (
        data: Event.Payload<E[Name]>,
        event: BrowserEvent<Name, Event.Payload<E[Name]>>
      ) => Effect.Effect<unknown, unknown, R>
    ): Effect.Effect<void, never, R | Scope.Scope>
    <const H extends Handlers<E>>(handlers: H & Checked<E, H>): Effect.Effect<void, never, Services<H> | Scope.Scope>
  }
  /**
   * The members of a presence channel, in the order in which they joined; empty for other channels, and until the list is
   * complete. While the browser reconnects they stay as they were.
   */
  readonly members: Latest<ReadonlyArray<Member>>
  /**
   * Replaces the `data` that the others on a presence channel see of this browser, with anything whose JSON is an object. It stays
   * over reconnecting, and is that of all subscriptions of the channel here. If the connection is lost meanwhile it is sent again.
   */
  readonly update: (data: object) => Effect.Effect<void, UpdateError>
  /** Whether events arrive. */
  readonly state: Latest<State>
  /**
   * The last gap, if there was one, and each that follows. A slow reader skips gaps and gets the latest one. `onError` is called
   * with `EventsMissedError` for each.
   */
  readonly gaps: Stream.Stream<Gap>
}

/**
 * The inbox of the own user, until its scope ends: the events, whether they arrive, and what was missed, as those of a channel.
 *
 * @since 0.1.0
 */
export interface Inbox<E extends Events> extends Pick<Subscription<E>, "events" | "on" | "state" | "gaps"> {}
