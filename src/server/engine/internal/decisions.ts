/**
 * Decides what becomes of an intent: it is rejected, changes nothing, or is a change. Nothing is changed or sent here; a
 * decision follows from the state of the vhost alone.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import * as ChannelName from "../../../protocol/ChannelName.ts"
import { byteLength } from "../../../protocol/Frame.ts"
import * as Json from "../../../protocol/Json.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import {
  BadRequestError,
  BrowserNotFoundError,
  ChannelNotFoundError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  TooManyRequestsError
} from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Member, Subscription } from "../../domain/Browser.ts"
import * as Journal from "../Journal.ts"
import type { Change, Intent, Intents, Rejections } from "../Log.ts"
import type { Channel } from "./channel.ts"
import * as MessageSize from "./messageSize.ts"
import * as Recovery from "./recovery.ts"
import { ruleOf } from "./rules.ts"
import { channelOf, isEmpty, newChannel, sizeOf, type VhostState } from "./vhostState.ts"

/** What becomes of an intent. */
export type Decision<E> = Change | Unchanged | Rejected<E>

/** Nothing changes. */
interface Unchanged {
  readonly _tag: "Unchanged"
}

/** It is not allowed, or not possible. */
interface Rejected<E> {
  readonly _tag: "Rejected"
  readonly error: E
}

/** Decides an intent. */
export const decide = <Tag extends keyof Intents>(state: VhostState, intent: Intent<Tag>): Decision<Rejections[Tag]> =>
  decisions[intent._tag](state, intent)

type Decisions = {
  readonly [Tag in keyof Intents]: (state: VhostState, intent: Intent<Tag>) => Decision<Rejections[Tag]>
}

const decisions: Decisions = {
  Broadcast: (state, { channel: name, data, event, exceptSid, from }) => {
    const open = channelOf(state, name)
    const channel = open ?? onDemand(state, name)
    if (channel === undefined) return notFound(name)
    if (from !== undefined && !channel.subscriptions.has(from)) return notSubscribed(name)
    if (channel.history === undefined) {
      if (channel.subscriptions.size === 0 && channel.taps === undefined) return broadcastToNobody
    } else if (state.head >= state.reserved) return rejected(new InternalError({ detail: Journal.notPersisted }))
    if (open === undefined && isFull(state)) return rejected(tooManyChannels(state))
    const message = BrokerMessage.broadcast(event, data, name, from?.sid)
    if (MessageSize.isLarger(message, state.largest)) return rejected(MessageSize.tooLarge(state.largest))
    const key = channel.rule.latest ? `${name} ${event}` : undefined
    return { _tag: "Broadcast", channel: name, opens: open === undefined, message, exceptSid, key }
  },

  OpenChannel: (state, { channel: name }) => {
    if (!ChannelName.isValid(name)) return rejected(new InvalidChannelNameError({ channel: name }))
    const channel = channelOf(state, name)
    if (channel?.isOnDemand === false) return unchanged
    return channel === undefined && state.channels.size >= state.limits.maxChannels
      ? rejected(tooManyChannels(state))
      : { _tag: "ChannelOpened", channel: name }
  },

  CloseChannel: (state, { channel: name }) => {
    const channel = channelOf(state, name)
    return channel === undefined
      ? notFound(name)
      : { _tag: "ChannelClosed", channel: name, lifecycle: eventsOfClosing(channel) }
  },

  SendTo: ({ browsers, largest }, { data, event, sid }) => {
    if (browsers.get(sid) === undefined) return rejected(new BrowserNotFoundError({ sid }))
    const message = BrokerMessage.direct(event, data)
    return MessageSize.isLarger(message, largest)
      ? rejected(MessageSize.tooLarge(largest))
      : { _tag: "Sent", sid, message }
  },

  Disconnect: ({ browsers }, { by, who }) =>
    browsers.find(by, who).length === 0 ? unchanged : { _tag: "Disconnected", by, who },

  Join: (state, { browser, channel: name, hidden, id, permission, rewind, since, ...options }) => {
    const open = channelOf(state, name)
    const channel = open ?? onDemand(state, name)
    if (channel === undefined) return notFound(name)
    const isNormal = channel.kind === "normal"
    if (!isNormal && permission?.allows(name) !== true) {
      return rejected(new ForbiddenError({ detail: `${name} needs a token whose pattern matches it` }))
    }
    const data = JsonText.from(options.data)
    if (sizeOf(data) > state.limits.memberDataSize) return tooMuchData(state)
    if (channel.subscriptions.has(browser)) return unchanged
    const error = exceeds(state, browser, sizeOf(data)) ?? exceedsRule(channel)
    if (error !== undefined) return rejected(error)
    if (open === undefined && isFull(state)) return rejected(tooManyChannels(state))
    // It subscribes once it has received all but the last part of what it has missed.
    if (Recovery.partOf(state, channel, browser, { rewind, since }).recovery?.more === true) return unchanged
    // A copy, because the text of the data is a slice that would keep the whole message in memory.
    const own = JsonText.copy(data)
    const uid = isNormal ? undefined : permission?.uid
    const member = channel.kind === "presence" && !hidden && uid !== undefined ? memberOf(name, uid, own) : undefined
    const subscription = { browser, uid, hidden, data: own, member }
    const lifecycle = eventsOfJoining(channel, subscription)
    return { _tag: "Joined", channel: name, opens: open === undefined, subscription, id, rewind, since, lifecycle }
  },

  Leave: (state, { browser, channel: name, farewell, request }) => {
    const channel = channelOf(state, name)
    if (channel === undefined) return notFound(name)
    const subscription = channel.subscriptions.get(browser)?.value
    if (subscription === undefined) return notSubscribed(name)
    const last = JsonText.from(farewell)
    if (sizeOf(last) > state.limits.memberDataSize) return tooMuchData(state)
    return {
      _tag: "Left",
      channel: name,
      browser,
      response: request && BrokerMessage.unsubscribed(name, request.id),
      memberLeft: subscription.member && BrokerMessage.memberLeft(lastTextOf(name, subscription, last)),
      lifecycle: eventsOfLeaving(channel, subscription)
    }
  },

  SetRules: (_, { rules }) => ({ _tag: "RulesSet", rules })
}

// The channel that is opened by who needs it, as it would be. Nobody could close one that has no valid name.
const onDemand = (state: VhostState, name: string): Channel | undefined =>
  ChannelName.isValid(name) && ruleOf(state.rules, name).openOnDemand
    ? newChannel(state, { name, onDemand: 1 })
    : undefined

const isFull = ({ channels, limits, onDemand }: VhostState): boolean =>
  onDemand >= limits.maxChannelsOnDemand || channels.size >= limits.maxChannels

const tooManyChannels = ({ channels, limits, onDemand }: VhostState): InternalError =>
  new InternalError({
    detail: channels.size >= limits.maxChannels
      ? `the vhost has ${channels.size} channels, the limit`
      : `the vhost has ${onDemand} channels that were opened on demand, the limit`
  })

const unchanged: Unchanged = { _tag: "Unchanged" }

// One object for all, since most channels of some vhosts have no subscribers most of the time.
const broadcastToNobody: Change = { _tag: "BroadcastToNobody" }

const rejected = <E>(error: E): Rejected<E> => ({ _tag: "Rejected", error })

const notFound = (channel: string) => rejected(new ChannelNotFoundError({ channel }))

const notSubscribed = (channel: string) => rejected(new NotSubscribedError({ channel }))

const tooMuchData = ({ limits }: VhostState) =>
  rejected(new BadRequestError({ detail: `data has at most ${limits.memberDataSize} bytes` }))

const exceeds = (
  { limits, subscriptions }: VhostState,
  browser: Subscription["browser"],
  size: number
): TooManyRequestsError | undefined => {
  const own = subscriptions.get(browser)
  if ((own?.channels.size ?? 0) >= limits.maxSubscriptions) {
    return new TooManyRequestsError({ detail: `a browser has at most ${limits.maxSubscriptions} subscriptions` })
  }
  return (own?.dataSize ?? 0) + size > limits.browserDataSize
    ? new TooManyRequestsError({
      detail: `the data of all subscriptions of a browser have at most ${limits.browserDataSize} bytes`
    })
    : undefined
}

const exceedsRule = ({ rule, subscriptions }: Channel): TooManyRequestsError | undefined =>
  subscriptions.size >= rule.maxSubscribers
    ? new TooManyRequestsError({ detail: `the channel has ${subscriptions.size} subscribers, the limit` })
    : undefined

const memberOf = (channel: string, uid: string, data: JsonText.ObjectText): Member => {
  const text = BrokerMessage.member(channel, uid, data)
  return { uid, text, size: byteLength(text) }
}

const lastTextOf = (channel: string, { data, member }: Subscription, farewell: JsonText.ObjectText): string =>
  isEmpty(farewell) ? member!.text : BrokerMessage.member(channel, member!.uid, JsonText.merge(data, farewell))

// A channel's first subscriber, and a user's first connection that is a member.
const eventsOfJoining = ({ membersOf, name, subscriptions }: Channel, subscription: Subscription): Array<Event> => {
  const { member } = subscription
  const events = subscriptions.size === 0 ? [Lifecycle.channelOccupied(name)] : []
  if (member !== undefined && !membersOf.has(member.uid)) {
    events.push(Lifecycle.memberJoined(name, member.uid, valueOf(subscription)))
  }
  return events
}

// A user's last connection that is a member, and a channel's last subscriber.
const eventsOfLeaving = ({ membersOf, name, subscriptions }: Channel, subscription: Subscription): Array<Event> => {
  const { member } = subscription
  const events = member !== undefined && membersOf.get(member.uid) === 1
    ? [Lifecycle.memberLeft(name, member.uid, valueOf(subscription))]
    : []
  if (subscriptions.size === 1) events.push(Lifecycle.channelVacated(name))
  return events
}

// As if the subscribers left one after the other.
const eventsOfClosing = ({ name, subscriptions }: Channel): ReadonlyArray<Event> => {
  if (subscriptions.size === 0) return []
  const lastOf = new Map<string, Subscription>()
  for (const { value } of subscriptions.values()) {
    if (value?.member === undefined) continue
    lastOf.delete(value.member.uid)
    lastOf.set(value.member.uid, value)
  }
  const left = Array.from(lastOf, ([uid, subscription]) => Lifecycle.memberLeft(name, uid, valueOf(subscription)))
  return [...left, Lifecycle.channelVacated(name)]
}

const valueOf = ({ data }: Subscription): Json.JsonObject => Json.parseObjectOrEmpty(data.text)
