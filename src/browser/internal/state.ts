/**
 * What the state machine knows, and the few ways in which its parts give outputs.
 */

import { TransientMap } from "../../protocol/TransientMap.ts"
import type { Failure } from "./failure.ts"
import type { Call, Subscribe } from "./input.ts"
import * as Options from "./options.ts"
import type { ConnectionState, Output, SubscriptionState } from "./output.ts"
import type { Presence } from "./presence.ts"

/** A machine. What it holds is its own. */
export interface Machine {
  readonly options: Options.Complete
  state: ConnectionState
  /** The number of the current or last connection. */
  connection: number
  /** How often the broker has confirmed a subscription that nobody wants, on this connection. */
  unwanted: number
  /** How often it has been tried to connect since a connection was good. */
  attempts: number
  /** When the current connection is given up, if it is not `Connected` by then. */
  connectBy: number
  /** When `:connected` came. */
  connectedAt: number
  liveness: Liveness
  authentication: Authentication
  /** Who the browser was last. */
  uid: string | undefined
  /** What the user wants, and what is not left yet. */
  readonly subscriptions: Map<string, Subscription>
  /** The calls that have not ended, by their numbers, in the order in which they were made. */
  readonly calls: TransientMap<number, Pending>
  /** How many bytes the calls take. */
  callBytes: number
  /** Calls that wait may be sent by now, or never: looked at once, at the end of the step. */
  mayCallsGoOn: boolean
  /** The time that the driver's timer is set to; `Infinity` for none. */
  timer: number
  /** The earliest time at which something is to be done. It may be too early, and is never too late. */
  wakeAt: number
  // Of the current step
  now: number
  random: () => number
  outputs: Array<Output>
  /** What is sent at the end of the step, or by the next `Flush`. */
  messages: Array<string>
  /** Whether `Flush` comes. */
  isFlushDue: boolean
}

/** What is known of the broker's being alive. */
export interface Liveness {
  readonly interval: number
  receivedAt: number
  /** When the broker must have responded to a ping, `Infinity` if none was sent. */
  respondBy: number
  /** It was given more time, since this side was paused. */
  isExtended: boolean
}

/** Who the browser is on the current connection. */
export interface Authentication {
  /**
   * `none`: nothing is tried. `fetching`: a token. `sent`: it was sent. `done`: the broker has accepted it, and another one is
   * fetched at `by`. `waiting`: it has failed once, and another token is fetched at `by`. `failed`: it has failed. Without
   * a user all that needs one fails, too; after `by` it is tried again.
   */
  phase: "none" | "waiting" | "fetching" | "sent" | "done" | "failed"
  /** The number of the last fetch. */
  fetch: number
  /** How often it has failed on this connection in a row. */
  failures: number
  /** When to give up waiting, or when to try again. */
  by: number
  /** Why it failed the last time. */
  failure: Failure | undefined
  /** Whether it is tried again by itself. */
  isRetried: boolean
  /** The broker has accepted a token on this connection. It stays so while another one is fetched and sent. */
  isUser: boolean
  /** How many tokens were sent on this connection to which the broker has not responded. */
  unanswered: number
  uid: string | undefined
}

/** A channel. */
export interface Subscription extends Omit<Subscribe, "_tag" | "data"> {
  /** What it was subscribed with, or updated to last. */
  data: string | undefined
  /** How many want it. */
  count: number
  /** `idle`: not subscribed. `sent`: subscribing. `on`: subscribed. `leaving`: unsubscribing. */
  phase: "idle" | "sent" | "on" | "leaving"
  /** When to give up waiting for a response, or when to try again; `Infinity` for neither. */
  by: number
  /** How often it has failed in a row. */
  failures: number
  /** It has failed, and is not tried again on this connection. */
  isRejected: boolean
  /** Other options were sent than those that count now. */
  isOutdated: boolean
  /** The broker has subscribed the browser by itself: it stays subscribed if nobody wants it. */
  isOffered: boolean
  /** The own user, as the broker has told with the channel. */
  uid: string | undefined
  state: SubscriptionState
  presence: Presence | undefined
  /** Where the browser is on a channel with history. */
  recovery: Recovery | undefined
}

/** Where the browser is on a channel with history. */
export interface Recovery {
  readonly epoch: string
  /** The last position that was received; `undefined` before the first one of a rewind. */
  position: number | undefined
  /** The connection that had received everything last. */
  sid: string
  /** How many missed broadcasts have not arrived yet of the current part, and where the browser is after them. */
  missed: number
  readonly end: number
  /** Whether another part follows. */
  readonly hasMore: boolean
}

/** A call that has not ended. */
export interface Pending extends Omit<Call, "_tag"> {
  readonly bytes: number
  readonly deadline: number
  /** It was sent on the current connection. */
  isSent: boolean
  /** When it was sent the last time, and as which user; `undefined` if it was never sent. */
  sent: { readonly at: number; readonly uid: string | undefined } | undefined
}

/** Makes a machine that is `Idle`. */
export const make = (options: Options.Options): Machine => ({
  options: Options.complete(options),
  state: { _tag: "Idle" },
  connection: 0,
  unwanted: 0,
  attempts: 0,
  connectBy: Infinity,
  connectedAt: 0,
  liveness: alive(Infinity, 0),
  authentication: anonymous(0),
  uid: undefined,
  subscriptions: new Map(),
  calls: new TransientMap(),
  callBytes: 0,
  mayCallsGoOn: false,
  timer: Infinity,
  wakeAt: Infinity,
  now: 0,
  random: () => 0,
  outputs: [],
  messages: [],
  isFlushDue: false
})

/** A broker that has just been received from. */
export const alive = (interval: number, now: number): Liveness => ({
  interval,
  receivedAt: now,
  respondBy: Infinity,
  isExtended: false
})

/** Nobody yet, on a new connection. */
export const anonymous = (fetch: number): Authentication => ({
  phase: "none",
  fetch,
  failures: 0,
  by: Infinity,
  failure: undefined,
  isRetried: false,
  isUser: false,
  unanswered: 0,
  uid: undefined
})

/** Gives an output. */
export const emit = (machine: Machine, output: Output): void => {
  machine.outputs.push(output)
}

/** Sends a message at the end of the step: an event, and the JSON text of an object. */
export const send = (machine: Machine, event: string, payload: string): void => {
  machine.messages.push(`{"${event}":${payload}}`)
}

/** Sees to it that `Timer` comes at this time at the latest. */
export const wake = (machine: Machine, at: number): void => {
  if (at < machine.wakeAt) machine.wakeAt = at
}

/** Changes the state of the connection. */
export const setState = (machine: Machine, state: ConnectionState): void => {
  machine.state = state
  emit(machine, { _tag: "State", state })
}

/** What the connected broker speaks, `undefined` while none is connected. */
export const version = ({ state }: Machine): 0 | 1 | undefined => state._tag === "Connected" ? state.version : undefined
