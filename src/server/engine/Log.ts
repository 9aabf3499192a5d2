/**
 * The log of one vhost: it decides what may change, puts the changes into one order, and applies them.
 *
 * Everything that browsers and backends do to the channels of a vhost is an intent. An intent is rejected, changes nothing, or
 * becomes one change with a position. A broker applies all changes of a vhost in the order of their positions, each once, so
 * that its channels always are what these changes make of them.
 *
 * Whoever commits may act on a change only when the effect of `commit` has ended. The log of a single broker decides and
 * applies within the call and returns an `Exit`; callers that must be fast test for it.
 *
 * @since 0.1.0
 */

import type * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { UnsubscribeReason } from "../../protocol/BrokerMessage.ts"
import type { Id, Since } from "../../protocol/BrowserMessage.ts"
import type * as JsonText from "../../protocol/JsonText.ts"
import type {
  BadRequestError,
  BrowserNotFoundError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  TooManyRequestsError
} from "../../protocol/KosmonautError.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Browser, MemberSubscription, SubscribeOptions, Subscription } from "../domain/Browser.ts"
import type { Permission } from "../domain/Permission.ts"
import type { Rules } from "./internal/rules.ts"

/**
 * What somebody may want to change, by its tag. The first five are commands of Clients as they come from the wire.
 *
 * @since 0.1.0
 */
export interface Intents {
  /** Opens a channel. Changes nothing if it is open. */
  readonly OpenChannel: { readonly channel: string }
  /** Closes a channel and ends its subscriptions. */
  readonly CloseChannel: { readonly channel: string }
  /** Sends an event to the subscribers of a channel. */
  readonly Broadcast: {
    readonly channel: string
    readonly event: string
    readonly data: JsonText.Input
    /** The browser that sends it, absent for a backend; that browser receives it, too. */
    readonly from?: Browser | undefined
    /** The sid of a browser that does not receive it. */
    readonly exceptSid?: string | undefined
  }
  /** Sends an event to one browser. */
  readonly SendTo: { readonly sid: string; readonly event: string; readonly data: JsonText.Input }
  /**
   * Sends an event to all browsers of a user, and retains it if inboxes have a history. Changes nothing if there is no browser
   * and no history.
   */
  readonly SendToUser: { readonly uid: string; readonly event: string; readonly data: JsonText.Input }
  /** Disconnects one browser, or all browsers of a user. Changes nothing if nobody is connected. */
  readonly Disconnect: { readonly by: "sid" | "uid"; readonly who: string }
  /** Subscribes a browser. Changes nothing if it is subscribed, or has missed more than it can receive at once. */
  readonly Join: SubscribeOptions & { readonly channel: string; readonly browser: Browser }
  /**
   * Changes the data of a browser's subscription, by default not, or what its `permission` says of the user. Changes nothing if
   * both are the same.
   */
  readonly Update: {
    readonly channel: string
    readonly browser: Browser
    readonly data?: JsonText.Input | undefined
    readonly permission?: Pick<Permission, "info"> | undefined
  }
  /**
   * Unsubscribes a browser. `request` is the message that it is to receive a response to, if there is one. If its connection
   * has ended so that it `mayReturn`, its user stays a member until the grace is over.
   */
  readonly Leave: {
    readonly channel: string
    readonly browser: Browser
    readonly farewell: JsonText.Input
    readonly request: { readonly id: Id | undefined } | undefined
    /** Why the broker unsubscribes it, which the browser is told. */
    readonly reason?: UnsubscribeReason | undefined
    readonly mayReturn?: boolean | undefined
  }
  /**
   * Ends the grace of a connection of a user, or without a user that of a channel whose browsers are no members. Changes nothing
   * if no such grace has begun, or if `until` is given and it ends at another time by now.
   */
  readonly EndGrace: {
    readonly channel: string
    readonly uid: string | undefined
    readonly sid: string | undefined
    readonly until?: number | undefined
  }
  /** Sets what channels are like. */
  readonly SetRules: { readonly rules: Rules }
}

export type { Rules } from "./internal/rules.ts"

/**
 * What somebody wants to change.
 *
 * @since 0.1.0
 */
export type Intent<Tag extends keyof Intents = keyof Intents> = {
  readonly [One in Tag]: { readonly _tag: One } & Intents[One]
}[Tag]

/**
 * Why an intent may be rejected. Any may fail with `InternalError` if the broker is one of several nodes: their log cannot be
 * reached, or has too much to do. The error says whether the intent may be carried out nevertheless.
 *
 * @since 0.1.0
 */
export interface Rejections {
  readonly OpenChannel: InvalidChannelNameError | InternalError
  readonly CloseChannel: ChannelNotFoundError | InternalError
  readonly Broadcast: ChannelNotFoundError | NotSubscribedError | BadRequestError | InternalError
  readonly SendTo: BrowserNotFoundError | BadRequestError | InternalError
  readonly SendToUser: BadRequestError | InternalError
  readonly Disconnect: InternalError
  readonly Join: ChannelNotFoundError | ForbiddenError | BadRequestError | TooManyRequestsError | InternalError
  readonly Update: ChannelNotFoundError | NotSubscribedError | BadRequestError | TooManyRequestsError | InternalError
  readonly Leave: ChannelNotFoundError | NotSubscribedError | BadRequestError | InternalError
  readonly EndGrace: InternalError
  readonly SetRules: InternalError
}

/**
 * What has changed. A change that `opens` its channel does so if it is not open. Messages are written
 * once for all who receive them, and only on nodes that have one of them. `lifecycle` are the lifecycle events of a change, which the log emits: a channel's first and last
 * subscriber, a user's first and last connection. One whose grace has begun counts until that has ended.
 *
 * @since 0.1.0
 */
export type Change = Data.TaggedEnum<{
  ChannelOpened: { readonly channel: string }
  ChannelClosed: { readonly channel: string; readonly lifecycle: ReadonlyArray<Event> }
  Broadcast: {
    readonly channel: string
    readonly opens: boolean
    /** The message without its end, see `BrokerMessage.broadcastBody`. */
    readonly body: string
    readonly exceptSid: string | undefined
    /** Of a channel on which only the last broadcast of each event matters: names the event. */
    readonly key: string | undefined
  }
  /** A broadcast to a channel without history that no browser of this node is subscribed to. Its data were not read. */
  BroadcastToNobody: {}
  Sent: { readonly sid: string; readonly message: string }
  SentToUser: { readonly uid: string; readonly body: string; readonly key: string | undefined }
  /** Something was sent to browsers of other nodes alone, and nothing retains it. */
  SentElsewhere: {}
  Disconnected: { readonly by: "sid" | "uid"; readonly who: string }
  Joined: {
    readonly channel: string
    readonly opens: boolean
    readonly subscription: Subscription
    readonly id: Id | undefined
    readonly since: Since | undefined
    readonly rewind: number | undefined
    /** The connection of the same user whose grace ends, because this one takes its place. */
    readonly from: string | undefined
    readonly lifecycle: ReadonlyArray<Event>
  }
  Updated: { readonly channel: string; readonly subscription: Subscription }
  Left: {
    readonly channel: string
    readonly browser: Browser
    /** The response to the browser, if it wants to leave. */
    readonly response: string | undefined
    /** If it was a member, that as the other subscribers are to learn of it. */
    readonly member: MemberSubscription | undefined
    readonly lifecycle: ReadonlyArray<Event>
  }
  /** The connection of a browser has ended, and its grace begins. */
  GraceBegun: { readonly channel: string; readonly browser: Browser; readonly until: number }
  GraceEnded: {
    readonly channel: string
    readonly uid: string | undefined
    readonly sid: string | undefined
    readonly member: MemberSubscription | undefined
    readonly lifecycle: ReadonlyArray<Event>
  }
  RulesSet: { readonly rules: Rules }
}>

/**
 * A part of the broadcasts that a channel with history retains, the oldest first.
 *
 * @since 0.1.0
 */
export interface HistoryPart {
  readonly entries: ReadonlyArray<HistoryEntry>
  /** The position of the last broadcast that was dropped. */
  readonly floor: number
  /** Whether there are later ones. */
  readonly more: boolean
}

/**
 * A broadcast that is retained: its position, and the message as browsers have received it.
 *
 * @since 0.1.0
 */
export interface HistoryEntry {
  readonly position: number
  readonly message: string
}

/**
 * The log of one vhost.
 *
 * @since 0.1.0
 */
export interface Log {
  /** Names the positions of this log. Another log has another epoch. */
  readonly epoch: () => string
  /** The position of the last change that this broker has applied. Each change has the next one. */
  readonly head: () => number
  /**
   * Commits an intent. Ends when this broker has applied the change; `false` if nothing has changed. An `Exit` if that is done when it
   * is called, and otherwise it may be pending, see `Pending.ts`.
   */
  readonly commit: <Tag extends keyof Intents>(intent: Intent<Tag>) => Effect.Effect<boolean, Rejections[Tag]>
  /**
   * The broadcasts of a channel after a position: as many as have `maxSize` bytes as JSON, and at least one if there is one; at
   * most `limit`. None for a channel without history.
   */
  readonly history: (
    channel: string,
    options: { readonly after: number; readonly limit: number; readonly maxSize: number }
  ) => Effect.Effect<HistoryPart, ChannelNotFoundError>
  /** When the next grace ends or something is no longer retained, in monotonic milliseconds; `undefined` without either. */
  readonly nextDue: () => number | undefined
  /** A browser has connected. What it commits afterwards is decided after this. */
  readonly enter: (browser: Browser) => void
  /**
   * A browser has authenticated, maybe as another user than before, and this is what its token says of the user. Ignored for a
   * browser that has disconnected. Ends when this broker has applied it.
   */
  readonly identify: (browser: Browser, uid: string, info: Permission["info"]) => Effect.Effect<void>
  /** A browser becomes that of another user: until it is identified again nobody finds it by its user. */
  readonly forgetUser: (browser: Browser) => Effect.Effect<void>
  /**
   * A browser has disconnected: it leaves all its channels and is removed, without a message to it. If it `mayReturn`, its user
   * stays a member until the grace is over. Safe to repeat. It yields in between if that is much work.
   */
  readonly leave: (browser: Browser, mayReturn: boolean) => Effect.Effect<void>
  /**
   * Ends the graces whose time is over, and drops what is too old, so that channels close that were opened on demand. It yields in
   * between if that is much work.
   */
  readonly sweep: Effect.Effect<void>
  /**
   * Ends when this broker has applied all that was committed anywhere before. Only then is a channel known not to exist. Fails if
   * the log that several nodes share cannot be reached.
   */
  readonly barrier: Effect.Effect<void, InternalError>
  /** Whether broadcasts to this channel are persisted: it has a history, and the broker has a store. */
  readonly isPersisted: (channel: string) => boolean
  /** Ends when all broadcasts that were committed so far are persisted. Fails if they could not be; the write is then retried. */
  readonly persisted: Effect.Effect<void, InternalError>
}
