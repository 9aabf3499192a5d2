/**
 * What a change does: to the state of the vhost, and to the browsers that receive messages about it.
 *
 * Any change can be applied to any state, in one synchronous step. A change of something that does not exist does nothing.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type { Browser, MemberSubscription } from "../../domain/Browser.ts"
import type { Change } from "../Log.ts"
import * as Channel from "./channel.ts"
import * as Graces from "./graces.ts"
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import * as Member from "./member.ts"
import * as Recovery from "./recovery.ts"
import * as VhostState from "./vhostState.ts"

/**
 * The close code for a browser that a backend disconnects. The browser should not reconnect by itself. (Codes from 4000 on are
 * for applications; RFC 6455, section 7.4.2.)
 */
const disconnectedCode = 4403

/** Applies the change at a position, the next one. */
export const apply = (state: VhostState.VhostState, change: Change, position: number): void => {
  state.head = position
  switch (change._tag) {
    case "Broadcast":
      return broadcast(state, change, position)
    case "BroadcastToNobody":
      state.counters.broadcasts++
      return
    case "SentElsewhere":
      return
    case "ChannelOpened":
      return open(state, change)
    case "ChannelClosed":
      return close(state, change)
    case "Joined":
      return join(state, change)
    case "Updated":
      return update(state, change)
    case "Left":
      return leave(state, change)
    case "GraceBegun":
      return beginGrace(state, change)
    case "GraceEnded":
      return endGrace(state, change)
    case "RulesSet":
      return VhostState.setRules(state, change.rules)
    case "Sent":
      return state.browsers.get(change.sid)?.sendUnsafe(change.message)
    case "SentToUser":
      return sendToUser(state, change, position)
    case "Disconnected":
      return state.browsers.find(change.by, change.who).forEach(disconnect)
  }
}

const open = (state: VhostState.VhostState, { channel: name }: Of<"ChannelOpened">): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined) VhostState.addChannel(state, { name })
  else VhostState.keepOpen(state, channel)
}

const openChannel = (
  state: VhostState.VhostState,
  { channel, opens }: Of<"Broadcast"> | Of<"Joined">
): Channel.Channel | undefined =>
  VhostState.channelOf(state, channel) ??
    (opens ? VhostState.addChannel(state, { name: channel, onDemand: 1 }) : undefined)

const broadcast = (state: VhostState.VhostState, change: Of<"Broadcast">, position: number): void => {
  const { body, exceptSid } = change
  const channel = openChannel(state, change)
  state.counters.broadcasts++
  if (channel === undefined) return
  Channel.show(channel, body)
  const sample = state.lags && { lag: state.lags.ofRule(channel.rule.pattern), number: position }
  const { history } = channel
  const message = history === undefined ? BrokerMessage.unpositioned(body) : BrokerMessage.positioned(body, position)
  if (history !== undefined) History.append(state.histories, history, { position, message, exceptSid })
  state.counters.deliveries += Channel.deliver(channel, message, change, sample, history && body)
  if (history !== undefined) VhostState.closeIfUnused(state, channel)
}

// Its browsers of version 1 receive it as subscribers of the inbox, all others as if it was sent to each of them.
const sendToUser = (
  state: VhostState.VhostState,
  { body, key, uid }: Of<"SentToUser">,
  position: number
): void => {
  const message = BrokerMessage.toUser(body, position)
  Inboxes.append(state.inboxes, uid, { position, message })
  const inbox = state.inboxes.attended.get(uid)
  const isReadHere = inbox !== undefined && inbox.subscriptions.own.size > 0
  if (isReadHere) Channel.deliver(inbox, message, { key })
  for (const browser of state.browsers.find("uid", uid)) {
    if (browser.version === 0) browser.sendUnsafe(BrokerMessage.unpositioned(body), key)
  }
}

const close = (state: VhostState.VhostState, { channel: name }: Of<"ChannelClosed">): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined) return
  const message = BrokerMessage.unsubscribed(name)
  const browsers = channel.subscriptions.browsers()
  for (const browser of browsers) VhostState.removeSubscription(state, channel, browser)
  VhostState.removeChannel(state, channel)
  for (const browser of browsers) browser.sendUnsafe(message)
  for (const tap of channel.taps ?? []) tap.onClose()
}

const join = (state: VhostState.VhostState, change: Of<"Joined">): void => {
  const { channel: name, from, id, subscription, ...asked } = change
  const channel = VhostState.channelFor(state, name, subscription) ?? openChannel(state, change)
  const { browser, uid } = subscription
  if (channel === undefined || channel.subscriptions.has(browser)) return
  // As the original's: those who were there before. Its own node writes it.
  const welcome = browser.isRemote === true ? undefined : {
    list: listOf(state, channel, browser),
    ...Recovery.partOf(state, channel, browser, asked)
  }
  const grace = from === undefined ? undefined : Graces.find(channel, uid, from)
  const place = grace?.item.member
  const before = place?.value
  if (grace !== undefined) Graces.end(state.graces, grace)
  VhostState.addSubscription(state, channel, subscription, place)
  if (welcome !== undefined) {
    browser.sendUnsafe(BrokerMessage.subscribed(name, uid, welcome.list, id, welcome.recovery))
    Channel.deliverMissed(browser, welcome.messages)
  }
  if (!Member.isMember(subscription)) return
  if (!Member.isMember(before)) {
    return Channel.deliverByVersion(channel, (version) => Member.joined(name, subscription, version))
  }
  const moved = BrokerMessage.memberMoved(name, before.member.uid, before.browser.sid, browser.sid)
  Channel.deliverByVersion(channel, (version) => version === 0 ? undefined : moved)
  if (!Member.looksLike(before, subscription)) announceUpdate(channel, subscription)
}

// Browsers of version 0 do not know of updates.
const announceUpdate = (channel: Channel.Channel, subscription: MemberSubscription): void =>
  Channel.deliverByVersion(
    channel,
    (version) => version === 0 ? undefined : Member.updated(channel.name, subscription)
  )

const update = (state: VhostState.VhostState, { channel: name, subscription }: Of<"Updated">): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined || !VhostState.updateSubscription(state, channel, subscription)) return
  if (Member.isMember(subscription)) announceUpdate(channel, subscription)
}

/** The members of a presence channel for the `:subscribed` to a browser, without itself. */
export const listOf = (
  state: VhostState.VhostState,
  channel: Channel.Channel,
  browser: Browser
): BrokerMessage.MemberList | undefined =>
  channel.kind === "presence"
    ? VhostState.membersAfter(state, channel, 0, { least: 0, except: browser, version: browser.version })
    : undefined

const leave = (
  state: VhostState.VhostState,
  { browser, channel: name, member, response }: Of<"Left">
): void => {
  const channel = VhostState.channelFor(state, name, { uid: state.browsers.uidOf(browser) })
  if (channel === undefined || !VhostState.removeSubscription(state, channel, browser)) return
  if (response !== undefined) browser.sendUnsafe(response)
  announceLeft(channel, member)
  VhostState.closeIfUnused(state, channel)
}

const announceLeft = (channel: Channel.Channel, member: MemberSubscription | undefined): void => {
  if (member !== undefined) Channel.deliverByVersion(channel, (version) => Member.left(channel.name, member, version))
}

const beginGrace = (state: VhostState.VhostState, { browser, channel: name, until }: Of<"GraceBegun">): void => {
  const channel = VhostState.channelOf(state, name)
  const entry = channel && VhostState.detachSubscription(state, channel, browser)
  if (channel === undefined || entry === undefined) return
  const isMember = Member.isMember(entry.value)
  if (!isMember) VhostState.removeFromList(channel, entry)
  Graces.begin(state.graces, channel, isMember ? entry : undefined, until)
}

const endGrace = (state: VhostState.VhostState, { channel: name, member, sid, uid }: Of<"GraceEnded">): void => {
  const channel = VhostState.channelOf(state, name)
  const grace = channel && Graces.find(channel, uid, sid)
  if (channel === undefined || grace === undefined) return
  Graces.end(state.graces, grace)
  if (grace.item.member !== undefined) VhostState.removeFromList(channel, grace.item.member)
  announceLeft(channel, member)
  VhostState.closeIfUnused(state, channel)
}

const disconnect = (browser: Browser): void => {
  browser.sendUnsafe(BrokerMessage.closed(browser.sid))
  browser.closeUnsafe(disconnectedCode)
}

type Of<Tag extends Change["_tag"]> = Extract<Change, { readonly _tag: Tag }>
