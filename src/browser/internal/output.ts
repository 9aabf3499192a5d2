/**
 * What is to be done and what has happened: the outputs of the state machine, in order.
 */

import type { JsonObject } from "../../protocol/Json.ts"
import type { Failure } from "./failure.ts"
import type { MembersChange } from "./presence.ts"

/** What a driver does, one after the other, before it gives the next input. It must not give an input meanwhile. */
export type Output =
  // For the driver
  /** Open a WebSocket to the URL with `v=1` in its query, and give its messages and its end with this number. */
  | { readonly _tag: "Connect"; readonly connection: number }
  /** Close the current WebSocket by this code, and forget it: nothing more of it is an input. */
  | { readonly _tag: "Disconnect"; readonly code: 1000 | 4000 }
  /** Send a text on the current WebSocket. */
  | { readonly _tag: "Send"; readonly text: string }
  /** Give `Flush` as soon as the user has done what is being done: the calls of that time are one message. */
  | { readonly _tag: "Flush" }
  /** Give `Timer` at this time, on the clock that `now` is of. Replaces the timer before. */
  | { readonly _tag: "SetTimer"; readonly at: number }
  | { readonly _tag: "ClearTimer" }
  /** Get a single access token, and give `TokenFetched` or `TokenFailed` with this number. */
  | { readonly _tag: "FetchToken"; readonly fetch: number }
  // For the user
  /** A call has ended. */
  | { readonly _tag: "Settle"; readonly call: number; readonly result: CallResult }
  /** The state of the connection has changed. */
  | { readonly _tag: "State"; readonly state: ConnectionState }
  /** The state of a subscription has changed. */
  | { readonly _tag: "Subscription"; readonly channel: string; readonly state: SubscriptionState }
  /** The members of a subscribed presence channel have changed; `members` has all of them. */
  | { readonly _tag: "Members"; readonly channel: string; readonly change: MembersChange }
  /**
   * An event was broadcast on a subscribed channel. `data` has the broker's keys, too: `channel`, and `sid` if a browser sent
   * it. `cursor` is where the browser is with it, on a channel with history.
   */
  | {
    readonly _tag: "Event"
    readonly channel: string
    readonly event: string
    readonly data: JsonObject
    readonly cursor: Cursor | undefined
  }
  /** Broadcasts on a channel with history were missed, and cannot be recovered. What comes now is after them. */
  | { readonly _tag: "Gap"; readonly channel: string; readonly reason: GapReason }
  /** An event was sent to this browser alone. */
  | { readonly _tag: "Direct"; readonly event: string; readonly data: JsonObject }
  /** Something failed that no call and no subscription tells of, or it is retried. For logs. */
  | { readonly _tag: "Error"; readonly failure: Failure }

/**
 * A place among the broadcasts of a channel with history, after which a subscription can begin. `epoch` names the log that the
 * position is of, `sid` the connection that was there.
 */
export interface Cursor {
  readonly epoch: string
  readonly position: number
  readonly sid: string
}

/**
 * Why broadcasts cannot be recovered. `epoch`: the broker has begun anew. `dropped`: it retains only the last ones. `closed`: the
 * channel was closed and opened again.
 */
export type GapReason = "epoch" | "dropped" | "closed"

/** How a call ended. `Declared` is the error that the request's handler failed with, in its JSON form. */
export type CallResult =
  | { readonly _tag: "Success"; readonly data: unknown }
  | { readonly _tag: "Declared"; readonly error: unknown }
  | { readonly _tag: "Failure"; readonly failure: Failure }
  | { readonly _tag: "Cancelled" }

/**
 * - `Idle`: not connected yet.
 * - `Connecting`: a connection is being opened, for the `attempt`th time since one was good; the first is 0.
 * - `Connected`: the broker has accepted it. `sid` is its name, `version` what the broker speaks: 0 is an older or the
 *   original broker. `isAuthenticated`, and the `uid` if the broker tells it, change with the authentication.
 * - `Waiting`: it could not be opened or was lost, by this close code. The next attempt is at `until`, on the clock of `now`.
 * - `Closed`: the user closed it, or the broker did by a final code. It does not reconnect by itself.
 */
export type ConnectionState =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | {
    readonly _tag: "Connected"
    readonly sid: string
    readonly version: 0 | 1
    readonly isAuthenticated: boolean
    readonly uid?: string
  }
  | {
    readonly _tag: "Waiting"
    readonly attempt: number
    readonly until: number
    readonly code: number
    readonly reason: string
  }
  | { readonly _tag: "Closed"; readonly code: number; readonly reason: string }

/**
 * - `Subscribing`: it waits for the connection, for the authentication or for the broker's response.
 * - `Subscribed`: events arrive. `uid` is the own user's, on private and presence channels. `cursor` is where it began, on a
 *   channel with history.
 * - `Failed`: the broker rejected it, or there is no token. With `isRetried` it is tried again after a backoff, and otherwise with the
 *   next token or on the next connection.
 * - `Unsubscribed`: nobody wants it any more. The last state.
 */
export type SubscriptionState =
  | { readonly _tag: "Subscribing" }
  | { readonly _tag: "Subscribed"; readonly uid?: string; readonly cursor?: Cursor }
  | { readonly _tag: "Failed"; readonly failure: Failure; readonly isRetried: boolean }
  | { readonly _tag: "Unsubscribed" }
