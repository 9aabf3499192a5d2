/**
 * What a change does: to the state of the vhost, and to the browsers that receive messages about it.
 *
 * Any change can be applied to any state, in one synchronous step. A change of something that does not exist does nothing.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Change } from "../Log.ts"
import * as Channel from "./channel.ts"
import * as History from "./history.ts"
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
    case "ChannelOpened":
      return open(state, change)
    case "ChannelClosed":
      return close(state, change)
    case "Joined":
      return join(state, change)
    case "Left":
      return leave(state, change)
    case "RulesSet":
      return VhostState.setRules(state, change.rules)
    case "Sent":
      return state.browsers.get(change.sid)?.sendUnsafe(change.message)
    case "Disconnected":
      return state.browsers.find(change.by, change.who).forEach(disconnect)
  }
}

const open = (state: VhostState.VhostState, { channel: name }: Of<"ChannelOpened">): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined) VhostState.addChannel(state, { name })
  else VhostState.keepOpen(state, channel)
}

const channelFor = (
  state: VhostState.VhostState,
  { channel, opens }: Of<"Broadcast"> | Of<"Joined">
): Channel.Channel | undefined =>
  VhostState.channelOf(state, channel) ??
    (opens ? VhostState.addChannel(state, { name: channel, onDemand: 1 }) : undefined)

const broadcast = (state: VhostState.VhostState, change: Of<"Broadcast">, position: number): void => {
  const { exceptSid, key, message } = change
  const channel = channelFor(state, change)
  state.counters.broadcasts++
  if (channel === undefined) return
  Channel.show(channel, message)
  if (channel.history === undefined) {
    state.counters.deliveries += Channel.deliver(channel, message, exceptSid, key)
    return
  }
  History.append(state.histories, channel.history, { position, message, exceptSid })
  state.counters.deliveries += Channel.deliverAt(channel, message, position, exceptSid, key)
  VhostState.closeIfUnused(state, channel)
}

const close = (state: VhostState.VhostState, { channel: name }: Of<"ChannelClosed">): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined) return
  const message = BrokerMessage.unsubscribed(name)
  const browsers = [...channel.subscriptions.keys()]
  for (const browser of browsers) VhostState.removeSubscription(state, channel, browser)
  VhostState.removeChannel(state, channel)
  for (const browser of browsers) browser.sendUnsafe(message)
  for (const tap of channel.taps ?? []) tap.onClose()
}

const join = (state: VhostState.VhostState, change: Of<"Joined">): void => {
  const { channel: name, id, subscription, ...asked } = change
  const channel = channelFor(state, change)
  const { browser, member, uid } = subscription
  if (channel === undefined || channel.subscriptions.has(browser)) return
  // As the original's: those who were there before.
  const list = listOf(state, channel)
  const { entries, recovery } = Recovery.partOf(state, channel, browser, asked)
  VhostState.addSubscription(state, channel, subscription)
  browser.sendUnsafe(BrokerMessage.subscribed(name, uid, list, id, recovery))
  Channel.deliverMissed(browser, entries)
  if (member !== undefined) Channel.deliver(channel, BrokerMessage.memberJoined(member.text))
}

/** The members of a presence channel for a `:subscribed`, without the browser itself. */
export const listOf = (
  state: VhostState.VhostState,
  channel: Channel.Channel,
  except?: Browser
): BrokerMessage.MemberList | undefined =>
  channel.kind === "presence" ? VhostState.membersAfter(state, channel, 0, { least: 0, except }) : undefined

const leave = (
  state: VhostState.VhostState,
  { browser, channel: name, memberLeft, response }: Of<"Left">
): void => {
  const channel = VhostState.channelOf(state, name)
  if (channel === undefined || !VhostState.removeSubscription(state, channel, browser)) return
  if (response !== undefined) browser.sendUnsafe(response)
  if (memberLeft !== undefined) Channel.deliver(channel, memberLeft)
  VhostState.closeIfUnused(state, channel)
}

const disconnect = (browser: Browser): void => {
  browser.sendUnsafe(BrokerMessage.closed(browser.sid))
  browser.closeUnsafe(disconnectedCode)
}

type Of<Tag extends Change["_tag"]> = Extract<Change, { readonly _tag: Tag }>
