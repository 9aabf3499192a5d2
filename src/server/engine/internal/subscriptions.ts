/**
 * The subscriptions of a vhost, within the limits of each browser, and the messages that others receive about them.
 *
 * Each change is one synchronous step. Only a browser that leaves many channels with many subscribers does so channel by
 * channel, and yields in between.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import { byteLength } from "../../../protocol/Frame.ts"
import * as Json from "../../../protocol/Json.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import {
  BadRequestError,
  ForbiddenError,
  NotSubscribedError,
  TooManyRequestsError
} from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Browser, Member, SubscribeOptions, Subscription } from "../../domain/Browser.ts"
import * as Channel from "./channel.ts"
import * as OrderedList from "./orderedList.ts"

/** The limits, see `BrokerConfig`. */
export interface Limits {
  readonly memberDataSize: number
  readonly browserDataSize: number
  readonly maxSubscriptions: number
  readonly presenceListSize: number
  readonly outboxSize: number
}

/** The subscriptions of a vhost. */
export interface Subscriptions {
  /** Subscribes a browser, and notifies the members and the backend. See `Channels` for a browser that is subscribed already. */
  readonly subscribe: (
    channel: Channel.Channel,
    browser: Browser,
    options: SubscribeOptions
  ) => Exit.Exit<void, ForbiddenError | BadRequestError | TooManyRequestsError>
  /** Unsubscribes a browser, and notifies it and the others, who receive `farewell`. */
  readonly unsubscribe: (
    channel: Channel.Channel,
    browser: Browser,
    farewell: JsonText.Input,
    id: SubscribeOptions["id"]
  ) => Exit.Exit<void, BadRequestError | NotSubscribedError>
  /** Unsubscribes all browsers, and notifies each of them. */
  readonly unsubscribeAll: (channel: Channel.Channel) => void
  /** Unsubscribes a browser from all its channels, and notifies the others. */
  readonly leave: (browser: Browser) => Effect.Effect<void>
  /** A part of a channel's members that fits into any browser's outbound queue. */
  readonly members: (
    channel: Channel.Channel,
    cursor: number,
    least: number,
    except?: Browser
  ) => BrokerMessage.MemberList
}

/** The subscriptions of one browser. */
interface Joined {
  readonly channels: Set<Channel.Channel>
  dataSize: number
}

/** After how many deliveries to yield. */
const turn = 10_000

/** Makes an empty registry of subscriptions. It updates `counters`, and calls `emit` with lifecycle events. */
export const make = ({ emit, counters, limits }: {
  readonly limits: Limits
  readonly counters: { subscriptions: number }
  readonly emit: (event: Event) => void
}): Subscriptions => {
  const joinedBy = new Map<Browser, Joined>()
  let lastCursor = 0
  const maxBytes = Math.min(limits.presenceListSize, limits.outboxSize / 4)
  const members: Subscriptions["members"] = (channel, cursor, least, except) =>
    Channel.membersAfter(channel, cursor, { except, least, maxBytes })

  // Removes a subscription and notifies the backend. The caller notifies the browsers.
  const remove = (channel: Channel.Channel, browser: Browser): Subscription | undefined => {
    const entry = channel.subscriptions.get(browser)
    const subscription = entry?.value
    if (entry === undefined || subscription === undefined) return undefined
    removeJoined(joinedBy, channel, subscription)
    channel.subscriptions.delete(browser)
    if (!subscription.hidden) OrderedList.remove(channel.visible, entry)
    counters.subscriptions--
    const { member } = subscription
    if (member !== undefined && count(channel, member, -1) === 0) {
      emit(Lifecycle.memberLeft(channel.name, member.uid, valueOf(subscription)))
    }
    if (channel.subscriptions.size === 0) emit(Lifecycle.channelVacated(channel.name))
    return subscription
  }

  // Returns how much work it was, in deliveries.
  const detach = (channel: Channel.Channel, browser: Browser, farewell: JsonText.ObjectText): number => {
    const subscription = remove(channel, browser)
    if (subscription?.member === undefined) return 1
    return 1 + Channel.deliver(channel, BrokerMessage.memberLeft(lastTextOf(channel, subscription, farewell)))
  }

  const attach = (channel: Channel.Channel, subscription: Subscription, id: SubscribeOptions["id"]) => {
    const { hidden, member, browser } = subscription
    const list = channel.kind === "presence" ? members(channel, 0, 0) : undefined
    const entry = { cursor: ++lastCursor, value: subscription }
    channel.subscriptions.set(browser, entry)
    if (!hidden) OrderedList.append(channel.visible, entry)
    counters.subscriptions++
    addJoined(joinedBy, channel, subscription)
    if (channel.subscriptions.size === 1) emit(Lifecycle.channelOccupied(channel.name))
    browser.sendUnsafe(BrokerMessage.subscribed(channel.name, subscription.uid, list, id))
    if (member === undefined) return
    if (count(channel, member, 1) === 1) {
      emit(Lifecycle.memberJoined(channel.name, member.uid, valueOf(subscription)))
    }
    Channel.deliver(channel, BrokerMessage.memberJoined(member.text))
  }

  const leave = (browser: Browser): Effect.Effect<void> =>
    Effect.suspend(() => {
      let work = 0
      for (const channel of joinedBy.get(browser)?.channels ?? []) {
        if (work > turn) return Effect.andThen(Effect.yieldNow, leave(browser))
        work += detach(channel, browser, JsonText.empty)
      }
      return Effect.void
    })

  return {
    members,
    leave,

    subscribe: (channel, browser, { hidden, id, permission, ...options }) => {
      const { kind, name } = channel
      const data = JsonText.from(options.data)
      if (kind !== "normal" && permission?.allows(name) !== true) {
        return Exit.fail(new ForbiddenError({ detail: `${name} needs a token whose pattern matches it` }))
      }
      const size = sizeOf(data)
      if (size > limits.memberDataSize) return Exit.fail(tooMuchData(limits))
      const uid = kind === "normal" ? undefined : permission?.uid
      if (channel.subscriptions.has(browser)) {
        const list = kind === "presence" && id !== undefined ? members(channel, 0, 0, browser) : undefined
        if (id !== undefined) browser.sendUnsafe(BrokerMessage.subscribed(name, uid, list, id))
        return Exit.void
      }
      const error = exceeds(limits, joinedBy.get(browser), size)
      if (error !== undefined) return Exit.fail(error)
      // A copy, because the text of the data is a slice that would keep the whole message in memory.
      const own = JsonText.copy(data)
      const member = kind === "presence" && !hidden && uid !== undefined ? memberOf(name, uid, own) : undefined
      attach(channel, { browser, uid, hidden, data: own, member }, id)
      return Exit.void
    },

    unsubscribe: (channel, browser, last, id) => {
      const farewell = JsonText.from(last)
      if (!channel.subscriptions.has(browser)) return Exit.fail(new NotSubscribedError({ channel: channel.name }))
      if (sizeOf(farewell) > limits.memberDataSize) return Exit.fail(tooMuchData(limits))
      browser.sendUnsafe(BrokerMessage.unsubscribed(channel.name, id))
      detach(channel, browser, farewell)
      return Exit.void
    },

    unsubscribeAll: (channel) => {
      const message = BrokerMessage.unsubscribed(channel.name)
      for (const browser of [...channel.subscriptions.keys()]) {
        remove(channel, browser)
        browser.sendUnsafe(message)
      }
    }
  }
}

const addJoined = (joinedBy: Map<Browser, Joined>, channel: Channel.Channel, { data, browser }: Subscription): void => {
  const joined = joinedBy.get(browser)
  if (joined === undefined) joinedBy.set(browser, { channels: new Set([channel]), dataSize: sizeOf(data) })
  else {
    joined.channels.add(channel)
    joined.dataSize += sizeOf(data)
  }
}

const removeJoined = (
  joinedBy: Map<Browser, Joined>,
  channel: Channel.Channel,
  { data, browser }: Subscription
): void => {
  const joined = joinedBy.get(browser)
  if (joined === undefined) return
  joined.channels.delete(channel)
  joined.dataSize -= sizeOf(data)
  if (joined.channels.size === 0) joinedBy.delete(browser)
}

// Changes how many connections of a user are members, and returns the new number.
const count = ({ membersOf }: Channel.Channel, { uid }: Member, change: 1 | -1): number => {
  const now = (membersOf.get(uid) ?? 0) + change
  if (now === 0) membersOf.delete(uid)
  else membersOf.set(uid, now)
  return now
}

const exceeds = (limits: Limits, joined: Joined | undefined, size: number): TooManyRequestsError | undefined => {
  const { channels, dataSize } = joined ?? { channels: { size: 0 }, dataSize: 0 }
  if (channels.size >= limits.maxSubscriptions) {
    return new TooManyRequestsError({ detail: `a browser has at most ${limits.maxSubscriptions} subscriptions` })
  }
  return dataSize + size > limits.browserDataSize
    ? new TooManyRequestsError({
      detail: `the data of all subscriptions of a browser have at most ${limits.browserDataSize} bytes`
    })
    : undefined
}

const tooMuchData = ({ memberDataSize }: Limits): BadRequestError =>
  new BadRequestError({ detail: `data has at most ${memberDataSize} bytes` })

const memberOf = (channel: string, uid: string, data: JsonText.ObjectText): Member => {
  const text = BrokerMessage.member(channel, uid, data)
  return { uid, text, size: byteLength(text) }
}

const lastTextOf = (channel: Channel.Channel, { data, member }: Subscription, farewell: JsonText.ObjectText): string =>
  isEmpty(farewell)
    ? member!.text
    : BrokerMessage.member(channel.name, member!.uid, JsonText.merge(data, farewell))

const sizeOf = (data: JsonText.ObjectText): number => isEmpty(data) ? 0 : byteLength(data.text)

const isEmpty = ({ text }: JsonText.ObjectText): boolean => text === JsonText.empty.text

const valueOf = ({ data }: Subscription): Json.JsonObject => Json.parseObjectOrEmpty(data.text)
