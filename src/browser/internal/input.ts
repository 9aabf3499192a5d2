/**
 * What happens to a connection: the inputs of the state machine. Numbers of connections and fetches come from its outputs,
 * so that what arrives late from an old one is ignored.
 */

import type { Cursor } from "./output.ts"

/**
 * A single access token, or a stateless one, which somebody has signed.
 */
export type Token = string | { readonly jwt: string }

/**
 * What a driver gives to the state machine, one at a time and in the order in which it happened.
 *
 * A message is one that was received, parsed; `undefined` if it was not JSON. A WebSocket that was opened is no input: the broker's first message
 * says so. `Closed` is the end of a connection for whatever reason, also if it could never be opened (1006); a driver gives it once,
 * and not after `Disconnect`.
 */
export type Input =
  // Of the connection
  | { readonly _tag: "Message"; readonly connection: number; readonly message: unknown }
  | { readonly _tag: "Closed"; readonly connection: number; readonly code: number; readonly reason: string }
  /** The time of the last `SetTimer` has come. */
  | { readonly _tag: "Timer" }
  /** What the user did when `Flush` came out is done. */
  | { readonly _tag: "Flush" }
  /** The response to `FetchToken`. `undefined` if nobody is logged in. */
  | { readonly _tag: "TokenFetched"; readonly fetch: number; readonly token: Token | undefined }
  | { readonly _tag: "TokenFailed"; readonly fetch: number; readonly message: string }
  /** The network, or somebody who looks, has come or gone. Such hints shorten waits and decide nothing. */
  | { readonly _tag: "Hint"; readonly hint: "online" | "offline" | "visible" }
  // Of the user
  /** Connects. Does nothing unless the machine is `Idle` or `Closed`. */
  | { readonly _tag: "Connect" }
  /** Closes the connection, and ends all calls. Subscriptions stay wanted, for another `Connect`. */
  | { readonly _tag: "Close" }
  | Subscribe
  /** Ends one `Subscribe` of this channel. With the last one the browser leaves the channel. */
  | { readonly _tag: "Unsubscribe"; readonly channel: string }
  | Call
  /** Ends a call as `Cancelled`, and withdraws it if that is possible. Does nothing if it has ended. */
  | { readonly _tag: "Cancel"; readonly call: number }

/**
 * Wants a channel. Several subscriptions of one channel share it: the first one's options count, and it is left with the last
 * `Unsubscribe`. Whoever subscribes to a channel that is subscribed already reads its state by `subscription`.
 */
export interface Subscribe {
  readonly _tag: "Subscribe"
  readonly channel: string
  /** Whether others do not see this browser on a presence channel, default `false`. */
  readonly hidden?: boolean | undefined
  /** JSON text of an object that others see on a presence channel, default `{}`. */
  readonly data?: string | undefined
  /** Begins after this place, on a channel with history. */
  readonly since?: Cursor | undefined
  /** How many of the last broadcasts of a channel with history come first, default 0. */
  readonly rewind?: number | undefined
}

/**
 * Sends something that is confirmed. It ends exactly once, by a `Settle` with its number, and that within its timeout.
 *
 * - `trigger`: an event for a worker. It needs a token.
 * - `request`: an event that a worker responds to. It needs a token.
 * - `broadcast`: an event for the subscribers of a channel that is subscribed here.
 * - `update`: the data of the subscription of a channel, which others see from then on, also after a reconnect.
 *
 * Before it can be sent it waits: for the connection, for the authentication, or for the subscription to have been sent.
 */
export interface Call {
  readonly _tag: "Call"
  /** A number of the driver's choice that no pending call has. */
  readonly call: number
  readonly kind: "trigger" | "request" | "broadcast" | "update"
  /** The name of the event on the wire; of an update it is empty. */
  readonly event: string
  /** JSON text of an object. */
  readonly data: string
  /** The channel, of a broadcast and an update. */
  readonly channel?: string | undefined
  /** Milliseconds until it fails, default `callTimeout`. */
  readonly timeout?: number | undefined
  /** Of a trigger: while an event of the user with this key is queued or in flight, another one is not queued. */
  readonly dedupeKey?: string | undefined
  /** The span that a trigger or a request belongs to, as W3C trace context has it. */
  readonly traceparent?: string | undefined
}
