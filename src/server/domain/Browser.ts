/**
 * A browser's connection as the engine sees it: messages can be sent to it, and it can be closed.
 *
 * @since 0.1.0
 */

import type { Id, Since } from "../../protocol/BrowserMessage.ts"
import type { Input, ObjectText } from "../../protocol/JsonText.ts"
import type { Permission } from "./Permission.ts"

/**
 * One connection of one browser.
 *
 * @since 0.1.0
 */
export interface Browser {
  /** A uuid, the connection's public name. */
  readonly sid: string
  /** Which version of the browsers' protocol it asked for: 1 by `?v=1`, else 0, that of the original. */
  readonly version: 0 | 1
  /** It is connected to another node, which sends it what it is to receive: here that is dropped. Default `false`. */
  readonly isRemote?: boolean
  /**
   * Puts a message into the outbound queue. Never waits, and never calls the engine in the same step; a browser that does not
   * read is disconnected by its endpoint. A message with a `key` may replace an earlier one with the same key that this
   * browser was not sent yet.
   */
  readonly sendUnsafe: (message: string, key?: string) => void
  /** The same for many messages at once; browsers that are sent the same array share what is made of it. Default one by one. */
  readonly sendAllUnsafe?: (messages: ReadonlyArray<string>) => void
  /**
   * Measures from `since`, by `performance.now()` and by default now, until what it was sent is written to its socket, and adds that
   * to a lag. It measures one thing at a time, and ignores others meanwhile. Default nothing, for one without a socket.
   */
  readonly measureUnsafe?: (lag: Lag, since?: number) => void
  /** What its connection is like now, for administrators. Default nothing, for one without a socket. */
  readonly connectionUnsafe?: () => BrowserConnection
  /** Ends the connection with this close code, once what was sent has left. */
  readonly closeUnsafe: (code: number, reason?: string) => void
}

/**
 * What the connection of a browser is like.
 *
 * @since 0.1.0
 */
export interface BrowserConnection {
  /** Where it connects from, as far as it is known: its address, or the one that a trusted reverse proxy reports. */
  readonly address: string | undefined
  /** For how many milliseconds it has been connected, by a monotonic clock. */
  readonly age: number
  /** How many bytes are queued for it. */
  readonly queued: number
}

/**
 * A distribution of durations.
 *
 * @since 0.1.0
 */
export interface Lag {
  /** Adds a duration, in milliseconds. */
  readonly addUnsafe: (millis: number) => void
}

/**
 * What a browser subscribes with.
 *
 * @since 0.1.0
 */
export interface SubscribeOptions {
  readonly permission: Permission | undefined
  readonly hidden: boolean
  readonly data: Input
  /** A backend subscribes the browser: the permission need not allow it. Default `false`. */
  readonly byBackend?: boolean | undefined
  /** The id of its message, which the response repeats. */
  readonly id?: Id | undefined
  /** Of a channel with history: what was broadcast since then is received first. */
  readonly since?: Since | undefined
  /** Of a channel with history: how many of the last broadcasts are received first. */
  readonly rewind?: number | undefined
}

/**
 * A browser's subscription to a channel.
 *
 * @since 0.1.0
 */
export interface Subscription {
  readonly browser: Browser
  /** The user, on private and presence channels. */
  readonly uid: string | undefined
  /** What a backend has said of that user, in the token. */
  readonly info?: ObjectText | undefined
  /** A hidden subscriber receives everything and is never announced or listed. */
  readonly hidden: boolean
  /** A backend has subscribed it, whatever its permission allows. */
  readonly byBackend: boolean
  /** What the browser has sent about itself, for the other subscribers. */
  readonly data: ObjectText
  /** Only of a member, which is a subscriber of a presence channel that is not hidden. */
  readonly member?: Member | undefined
}

/**
 * A user on a presence channel, by one of its connections.
 *
 * @since 0.1.0
 */
export interface Member {
  readonly uid: string
  /** Its JSON in lists and announcements, and the bytes of that, for each version of the protocol once it is written. */
  readonly texts: [MemberText | undefined, MemberText | undefined]
}

/**
 * The subscription of a member.
 *
 * @since 0.1.0
 */
export interface MemberSubscription extends Subscription {
  readonly member: Member
}

/**
 * The JSON of a member, and its bytes.
 *
 * @since 0.1.0
 */
export interface MemberText {
  readonly text: string
  readonly size: number
}
