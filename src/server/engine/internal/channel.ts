/**
 * One channel: its subscribers, delivery to them, and lists of them in parts.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type * as ChannelName from "../../../protocol/ChannelName.ts"
import type { Browser, Lag, Subscription } from "../../domain/Browser.ts"
import type { Listed, Part } from "../../domain/Listing.ts"
import type * as Heap from "./heap.ts"
import type * as History from "./history.ts"
import * as Member from "./member.ts"
import * as OrderedList from "./orderedList.ts"
import type { Rule } from "./rules.ts"
import { Subscribers } from "./subscribers.ts"

/** An open channel. */
export interface Channel {
  readonly name: string
  readonly kind: ChannelName.Kind
  readonly subscriptions: Subscribers
  /** Those that are not hidden, and members in grace. */
  readonly visible: OrderedList.OrderedList<Subscription>
  /** Of a presence channel: how many connections of each user are members, those in grace too. */
  readonly membersOf: Map<string, number>
  /** The graces that have begun here, by user, the oldest first; those of browsers that are no members have no user. */
  graces: Map<string | undefined, Array<Heap.Entry<Grace>>> | undefined
  rule: Rule
  /** Its last broadcasts, if it has a history. */
  history: History.History | undefined
  /** Whether it is closed when it has no subscribers and no history any more. */
  isOnDemand: boolean
  /** Those who watch its broadcasts, if there are any. */
  taps: Set<Tap> | undefined
}

/** Watches the broadcasts on a channel. Neither function may throw, or change the channel. */
export interface Tap {
  /** Called with each message as subscribers without positions receive it. */
  readonly onMessage: (message: string) => void
  /** Called when the channel is closed. */
  readonly onClose: () => void
}

/** A connection has ended, and may come back until this ends. */
export interface Grace {
  readonly channel: Channel
  /** The user, if it is that of a member. */
  readonly uid: string | undefined
  /** The member's place in the list. */
  readonly member: OrderedList.Entry<Subscription> | undefined
  /** When it ends, on the clock of the graces of the vhost. */
  until: number
  /** How many bytes it takes. */
  readonly size: number
}

/** Makes a channel without subscribers. */
export const make = (options: Pick<Channel, "name" | "kind" | "rule" | "isOnDemand">): Channel => ({
  ...options,
  history: undefined,
  subscriptions: new Subscribers(),
  visible: OrderedList.make(),
  membersOf: new Map(),
  taps: undefined,
  graces: undefined
})

/** Whether there is a subscriber, or one may come back. */
export const isOccupied = ({ graces, subscriptions }: Channel): boolean =>
  subscriptions.size > 0 || graces !== undefined

/** How many milliseconds pass until a member whose connection was lost is gone. */
export const graceOf = ({ rule }: Channel): number => rule.grace

/** To whom a message is not sent, and the key of `sendUnsafe`. */
export interface DeliveryOptions {
  readonly exceptSid?: string | undefined
  readonly key?: string | undefined
}

/** What the time that a delivery takes is added to, and a number that chooses the subscriber whose delivery that is. */
export interface Sample {
  readonly lag: Lag
  readonly number: number
}

/**
 * Sends a message to all subscribers of this node except one, and returns to how many. If it has a position, browsers of version 0
 * receive that of its `body` without one.
 */
export const deliver = (
  { subscriptions: { own } }: Channel,
  message: string,
  { exceptSid, key }: DeliveryOptions,
  sample?: Sample,
  body?: string
): number => {
  const { size } = own
  if (size === 0) return 0
  const index = sample === undefined ? -1 : indexOf(sample, size)
  const since = beginOf(size)
  let measured: Browser | undefined
  let delivered = 0
  let left = 0
  for (const browser of own.keys()) {
    if (browser.sid === exceptSid) continue
    if (delivered++ === index) measured = browser
    if (body === undefined || browser.version === 1) browser.sendUnsafe(message, key)
    else left++
  }
  // In a second round, since browsers that receive the same text in a row share its frame.
  if (left > 0 && body !== undefined) {
    const unpositioned = BrokerMessage.unpositioned(body)
    for (const browser of own.keys()) {
      if (browser.version === 0 && browser.sid !== exceptSid) browser.sendUnsafe(unpositioned, key)
    }
  }
  if (sample !== undefined) measured?.measureUnsafe?.(sample.lag, since)
  return delivered
}

// Scattered, so that broadcasts in turn on as many channels as one has subscribers do not always choose the same one.
const indexOf = ({ number }: Sample, size: number): number => (Math.imul(number, 0x9e37_79b1) >>> 8) % size

/** From how many subscribers on sending takes a time that matters beside that of writing. */
const many = 100

// The clock is read only where it makes a difference: it costs as much as sending to several browsers.
const beginOf = (size: number): number | undefined => size < many ? undefined : performance.now()

/** Shows a message to those who watch the channel. */
export const show = ({ taps }: Channel, body: string): void => {
  if (taps === undefined) return
  const message = BrokerMessage.unpositioned(body)
  for (const tap of taps) tap.onMessage(message)
}

/** Adds somebody who watches the channel, and returns how to remove them. */
export const tap = (channel: Channel, added: Tap): () => void => {
  const taps = channel.taps ??= new Set()
  taps.add(added)
  return () => {
    taps.delete(added)
    // Without any, broadcasts to nobody are not even read.
    if (taps.size === 0) channel.taps = undefined
  }
}

/** Sends all subscribers of this node the message for their version, if there is one. */
export const deliverByVersion = (
  { subscriptions: { own } }: Channel,
  messageFor: (version: Browser["version"]) => string | undefined
): void => {
  // One version after the other, since browsers that receive the same text in a row share its frame.
  for (const version of versions) {
    let message: string | undefined
    for (const browser of own.keys()) {
      if (browser.version !== version) continue
      message ??= messageFor(version)
      if (message === undefined) break
      browser.sendUnsafe(message)
    }
  }
}

const versions = [0, 1] as const

/** Sends a browser broadcasts that it has missed. */
export const deliverMissed = (browser: Browser, messages: ReadonlyArray<string>): void => {
  if (browser.sendAllUnsafe !== undefined) browser.sendAllUnsafe(messages)
  else for (const message of messages) browser.sendUnsafe(message)
}

/**
 * The members of a presence channel after a cursor, without `except`: as many as fit into `maxBytes`, and at least
 * `least`; each as browsers of this version see it.
 */
export const membersAfter = (
  { kind, name, subscriptions, visible }: Channel,
  cursor: number,
  options: {
    readonly except: Browser | undefined
    readonly maxBytes: number
    readonly least: number
    readonly version: Browser["version"]
  }
): BrokerMessage.MemberList => {
  const { except, least, maxBytes, version } = options
  if (kind !== "presence") return noMembers
  const isListed = except === undefined ? undefined : subscriptions.get(except)?.value?.member
  const count = visible.size - (isListed === undefined ? 0 : 1)
  const members: Array<string> = []
  let size = 0
  let next = cursor
  const isAll = OrderedList.everyAfter(visible, cursor, (subscription, entryCursor) => {
    if (subscription.browser === except || !Member.isMember(subscription)) return true
    const member = Member.textOf(name, subscription, version)
    size += member.size + 1
    if (size > maxBytes && members.length >= least) return false
    members.push(member.text)
    next = entryCursor
    return true
  })
  return { members, next: isAll ? undefined : next, count }
}

const noMembers: BrokerMessage.MemberList = { members: [], next: undefined, count: 0 }

/** How many entries a part of a list has at most, and how many it examines at most. */
const limits = { items: 1000, examined: 10_000 }

/** The part of a list that comes after a cursor, of the entries for which `use` does not return `undefined`. */
export const partAfter = <A, B>(
  list: OrderedList.OrderedList<A>,
  cursor: number,
  use: (value: A) => B | undefined
): Part<B> => {
  const items: Array<Listed<B>> = []
  let examined = 0
  let last = cursor
  const isAll = OrderedList.everyAfter(list, cursor, (value, entryCursor) => {
    if (items.length === limits.items || examined === limits.examined) return false
    const used = use(value)
    if (used !== undefined) items.push({ cursor: entryCursor, value: used })
    examined++
    last = entryCursor
    return true
  })
  return { items, next: isAll ? undefined : last }
}
