/**
 * Decides what becomes of an intent: it is rejected, changes nothing, or is a change. Nothing is changed or sent here; a
 * decision follows from the state of the vhost alone.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import * as ChannelName from "../../../protocol/ChannelName.ts"
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
import type { Browser, Subscription } from "../../domain/Browser.ts"
import * as Permission from "../../domain/Permission.ts"
import * as Journal from "../Journal.ts"
import type { Change, Intent, Intents, Rejections } from "../Log.ts"
import * as BrowserSubscriptions from "./browserSubscriptions.ts"
import { type Channel, graceOf, isOccupied } from "./channel.ts"
import * as Graces from "./graces.ts"
import * as Inboxes from "./inboxes.ts"
import * as Member from "./member.ts"
import * as MessageSize from "./messageSize.ts"
import { ownText } from "./ownText.ts"
import * as Recovery from "./recovery.ts"
import { ruleOf } from "./rules.ts"
import { channelFor, channelOf, newChannel, type VhostState } from "./vhostState.ts"

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
      if (!isReadHere(channel) && isSurelySent(state, channel, { data, event, from })) return broadcastToNobody
    } else if (state.head >= state.reserved) return rejected(new InternalError({ detail: Journal.notPersisted }))
    if (open === undefined && isFull(state)) return rejected(tooManyChannels(state))
    const body = BrokerMessage.broadcastBody(event, data, name, from?.sid)
    if (isTooLarge(state, body)) {
      // Without those who only watch, and only on this node, it would not have been read.
      return channel.history === undefined && channel.subscriptions.size === 0
        ? broadcastToNobody
        : rejected(MessageSize.tooLarge(state.largest))
    }
    const key = channel.rule.latest ? ownText(`${name} ${event}`) : undefined
    return { _tag: "Broadcast", channel: name, opens: open === undefined, body, exceptSid, key }
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
    const browser = browsers.get(sid)
    if (browser === undefined) return rejected(new BrowserNotFoundError({ sid }))
    if (browser.isRemote === true && MessageSize.isSurelyWithin(largest, [event], data)) return sentElsewhere
    const message = BrokerMessage.direct(event, data)
    return MessageSize.isLarger(message, largest)
      ? rejected(MessageSize.tooLarge(largest))
      : { _tag: "Sent", sid, message }
  },

  SendToUser: (state, { data, event, uid }) => {
    if (uid.length > Permission.maxLength) return rejected(tooLongUid)
    if (state.inboxes.rule.history === undefined) {
      const browsers = state.browsers.find("uid", uid)
      if (browsers.length === 0) return unchanged
      const areElsewhere = browsers.every(({ isRemote }) => isRemote === true)
      if (areElsewhere && MessageSize.isSurelyWithin(state.largest, [event], data)) return sentElsewhere
    } else if (state.head >= state.reserved) return rejected(new InternalError({ detail: Journal.notPersisted }))
    const body = BrokerMessage.directBody(event, data)
    if (isTooLarge(state, body)) return rejected(MessageSize.tooLarge(state.largest))
    const key = state.inboxes.rule.latest ? ownText(`${Inboxes.name} ${event}`) : undefined
    return { _tag: "SentToUser", uid, body, key }
  },

  Disconnect: ({ browsers }, { by, who }) =>
    browsers.find(by, who).length === 0 ? unchanged : { _tag: "Disconnected", by, who },

  Join: (state, { browser, byBackend = false, channel: name, hidden, id, permission, rewind, since, ...options }) => {
    const open = channelFor(state, name, { uid: permission?.uid })
    const channel = open ?? onDemand(state, name)
    if (channel === undefined || !isKnown(channel, browser)) {
      return name === Inboxes.name && browser.version === 1 ? rejected(needsUser) : notFound(name)
    }
    const isNormal = channel.kind === "normal"
    if (!isNormal && !byBackend && permission?.allows(name) !== true) {
      return rejected(new ForbiddenError({ detail: `${name} needs a token whose pattern matches it` }))
    }
    const data = JsonText.from(options.data)
    if (Member.sizeOf(data) > state.limits.memberDataSize) return tooMuchData(state)
    if (channel.subscriptions.has(browser)) return unchanged
    const error = exceeds(state, browser, Member.sizeOf(data)) ?? exceedsRule(channel)
    if (error !== undefined) return rejected(error)
    if (open === undefined && isFull(state)) return rejected(tooManyChannels(state))
    // It subscribes once it has received all but the last part of what it has missed.
    if (Recovery.partOf(state, channel, browser, { rewind, since }).recovery?.more === true) return unchanged
    // A copy, because the text of the data is a slice that would keep the whole message in memory.
    const own = JsonText.copy(data)
    const uid = isNormal && !Inboxes.isInbox(channel) ? undefined : permission?.uid
    const member = channel.kind === "presence" && !hidden && uid !== undefined
      ? Member.make(uid)
      : undefined
    const info = isNormal ? undefined : permission?.info
    const subscription = { browser, uid, info, hidden, byBackend, data: own, member }
    const from = member && Graces.find(channel, member.uid)?.item.member?.value?.browser.sid
    const lifecycle = eventsOfJoining(channel, subscription)
    return {
      _tag: "Joined",
      channel: name,
      opens: open === undefined,
      subscription,
      id,
      rewind,
      since,
      from,
      lifecycle
    }
  },

  Update: (state, { browser, channel: name, permission, ...options }) => {
    const channel = channelOf(state, name)
    if (channel === undefined) return notFound(name)
    const before = channel.subscriptions.get(browser)?.value
    if (before === undefined) return notSubscribed(name)
    const data = options.data === undefined ? before.data : JsonText.from(options.data)
    if (Member.sizeOf(data) > state.limits.memberDataSize) return tooMuchData(state)
    const info = permission === undefined || channel.kind === "normal" ? before.info : permission.info
    if (data.text === before.data.text && info?.text === before.info?.text) return unchanged
    const error = exceedsData(state, browser, Member.sizeOf(data) - Member.sizeOf(before.data))
    if (error !== undefined) return rejected(error)
    const member = before.member && Member.make(before.member.uid)
    return { _tag: "Updated", channel: name, subscription: { ...before, info, data: JsonText.copy(data), member } }
  },

  Leave: (state, { browser, channel: name, farewell, mayReturn, reason, request }) => {
    const channel = channelFor(state, name, { uid: state.browsers.uidOf(browser) })
    if (channel === undefined) return notFound(name)
    const subscription = channel.subscriptions.get(browser)?.value
    if (subscription === undefined) return notSubscribed(name)
    const last = JsonText.from(farewell)
    if (Member.sizeOf(last) > state.limits.memberDataSize) return tooMuchData(state)
    const until = mayReturn === true ? graceUntil(state, channel, subscription) : undefined
    if (until !== undefined) return { _tag: "GraceBegun", channel: name, browser, until }
    return {
      _tag: "Left",
      channel: name,
      browser,
      response: (request || reason) &&
        BrokerMessage.unsubscribed(name, request?.id, browser.version === 1 ? reason : undefined),
      member: Member.isMember(subscription) ? Member.leaving(subscription, last) : undefined,
      lifecycle: eventsOfLeaving(channel, subscription)
    }
  },

  EndGrace: (state, { channel: name, sid, uid, until }) => {
    const channel = channelOf(state, name)
    const grace = channel && Graces.find(channel, uid, sid)
    if (channel === undefined || grace === undefined) return unchanged
    if (until !== undefined && grace.item.until !== until) return unchanged
    const subscription = grace.item.member?.value
    const member = Member.isMember(subscription) ? subscription : undefined
    return { _tag: "GraceEnded", channel: name, uid, sid, member, lifecycle: eventsOfGrace(channel, subscription) }
  },

  SetRules: (_, { rules }) => ({ _tag: "RulesSet", rules })
}

// A message has a brace more than its body. Its position is not counted.
const isTooLarge = ({ largest }: VhostState, body: string): boolean => MessageSize.isLarger(body, largest - 1)

const isReadHere = ({ subscriptions: { own }, taps }: Channel): boolean => own.size > 0 || taps !== undefined

// All nodes must find the same, and those without a subscriber need not write a message that is surely not too large.
const isSurelySent = (
  { largest }: VhostState,
  { name, subscriptions }: Channel,
  { data, event, from }: Pick<Intents["Broadcast"], "data" | "event" | "from">
): boolean => subscriptions.size === 0 || MessageSize.isSurelyWithin(largest, [event, name, from?.sid ?? ""], data)

// Only browsers of version 1 know how to come back to where they were.
const graceUntil = (state: VhostState, channel: Channel, subscription: Subscription): number | undefined => {
  if (subscription.browser.version === 0 || Inboxes.isInbox(channel)) return undefined
  const grace = graceOf(channel)
  const member = Member.isMember(subscription) ? subscription : undefined
  return grace > 0 && Graces.fits(state.graces, channel, member)
    ? Graces.timeOf(state.graces, state.now()) + grace
    : undefined
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

const sentElsewhere: Change = { _tag: "SentElsewhere" }

// Browsers of version 0 have no inbox.
const isKnown = (channel: Channel, { version }: Browser): boolean => version === 1 || !Inboxes.isInbox(channel)

const rejected = <E>(error: E): Rejected<E> => ({ _tag: "Rejected", error })

const notFound = (channel: string) => rejected(new ChannelNotFoundError({ channel }))

const notSubscribed = (channel: string) => rejected(new NotSubscribedError({ channel }))

const needsUser = new ForbiddenError({ detail: "only an authenticated browser has an inbox; send auth first" })

const tooLongUid = new BadRequestError({ detail: `a user id has at most ${Permission.maxLength} characters` })

const tooMuchData = ({ limits }: VhostState) =>
  rejected(new BadRequestError({ detail: `data has at most ${limits.memberDataSize} bytes` }))

const exceeds = (
  state: VhostState,
  browser: Subscription["browser"],
  size: number
): TooManyRequestsError | undefined => {
  const { limits, subscriptions } = state
  return BrowserSubscriptions.channelsOf(subscriptions, browser).length >= limits.maxSubscriptions
    ? new TooManyRequestsError({ detail: `a browser has at most ${limits.maxSubscriptions} subscriptions` })
    : exceedsData(state, browser, size)
}

const exceedsData = (
  { limits, subscriptions }: VhostState,
  browser: Subscription["browser"],
  more: number
): TooManyRequestsError | undefined =>
  BrowserSubscriptions.dataSizeOf(subscriptions, browser) + more > limits.browserDataSize
    ? new TooManyRequestsError({
      detail: `the data of all subscriptions of a browser have at most ${limits.browserDataSize} bytes`
    })
    : undefined

const exceedsRule = ({ rule, subscriptions }: Channel): TooManyRequestsError | undefined =>
  subscriptions.size >= rule.maxSubscribers
    ? new TooManyRequestsError({ detail: `the channel has ${subscriptions.size} subscribers, the limit` })
    : undefined

// A channel's first subscriber, and a user's first connection that is a member.
const eventsOfJoining = (channel: Channel, subscription: Subscription): Array<Event> => {
  if (Inboxes.isInbox(channel)) return []
  const { membersOf, name } = channel
  const { member } = subscription
  const events = isOccupied(channel) ? [] : [Lifecycle.channelOccupied(name)]
  if (member !== undefined && !membersOf.has(member.uid)) {
    events.push(Lifecycle.memberJoined(name, member.uid, valueOf(subscription)))
  }
  return events
}

// A user's last connection that is a member, and a channel's last subscriber.
const eventsOfLeaving = (channel: Channel, subscription: Subscription): ReadonlyArray<Event> => {
  if (Inboxes.isInbox(channel)) return []
  const isLast = channel.subscriptions.size === 1 && channel.graces === undefined
  return [...eventsOfMember(channel, subscription), ...isLast ? [Lifecycle.channelVacated(channel.name)] : []]
}

// The same if its grace ends.
const eventsOfGrace = (channel: Channel, subscription: Subscription | undefined): ReadonlyArray<Event> => {
  const isLast = channel.subscriptions.size === 0 && Graces.count(channel) === 1
  return [...eventsOfMember(channel, subscription), ...isLast ? [Lifecycle.channelVacated(channel.name)] : []]
}

const eventsOfMember = ({ membersOf, name }: Channel, subscription: Subscription | undefined): ReadonlyArray<Event> =>
  Member.isMember(subscription) && membersOf.get(subscription.member.uid) === 1
    ? [Lifecycle.memberLeft(name, subscription.member.uid, valueOf(subscription))]
    : []

// As if the subscribers left one after the other.
const eventsOfClosing = (channel: Channel): ReadonlyArray<Event> => {
  const { name, visible } = channel
  if (!isOccupied(channel)) return []
  const lastOf = new Map<string, Subscription>()
  for (const { value } of visible.entries) {
    if (!Member.isMember(value)) continue
    lastOf.delete(value.member.uid)
    lastOf.set(value.member.uid, value)
  }
  const left = Array.from(lastOf, ([uid, subscription]) => Lifecycle.memberLeft(name, uid, valueOf(subscription)))
  return [...left, Lifecycle.channelVacated(name)]
}

const valueOf = ({ data }: Subscription): Json.JsonObject => Json.parseObjectOrEmpty(data.text)
