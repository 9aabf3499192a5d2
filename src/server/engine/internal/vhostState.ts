/**
 * The state of a vhost that follows from its changes: its open channels, and who is subscribed to them.
 *
 * Decisions read it, and only changes write it. Beside it are the browsers that are connected to this broker, which enter and
 * leave by themselves.
 */

import type * as Clock from "effect/Clock"
import * as ChannelName from "../../../protocol/ChannelName.ts"
import { byteLength, envelopeSize } from "../../../protocol/Frame.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Browser, Subscription } from "../../domain/Browser.ts"
import * as BrowserRegistry from "./browserRegistry.ts"
import * as Channel from "./channel.ts"
import * as Departed from "./departed.ts"
import * as History from "./history.ts"
import * as OrderedList from "./orderedList.ts"
import * as Rules from "./rules.ts"
import * as Timeline from "./timeline.ts"

/** The limits, see `BrokerConfig`. */
export interface Limits extends History.Limits {
  readonly maxChannels: number
  readonly maxChannelsOnDemand: number
  readonly maxMessageSize: number
  readonly maxSubscriptions: number
  readonly memberDataSize: number
  readonly browserDataSize: number
  readonly presenceListSize: number
  readonly outboxSize: number
}

/** The state of one vhost. */
export interface VhostState {
  readonly limits: Limits
  /** Names the positions: those of another log have another epoch. */
  readonly epoch: string
  /** How many bytes a message to browsers has at most. */
  readonly largest: number
  readonly channels: Map<string, OrderedList.Entry<Channel.Channel>>
  /** The open channels in the order of their opening. */
  readonly ordered: OrderedList.OrderedList<Channel.Channel>
  readonly subscriptions: Map<Browser, BrowserSubscriptions>
  readonly browsers: BrowserRegistry.BrowserRegistry
  readonly histories: History.Histories
  /** Of the channels that were opened on demand, those that are closed again. */
  readonly departed: Departed.Departed
  /** What channels are like, by their names. */
  rules: Rules.Rules
  /** How many channels are open that were opened on demand. */
  onDemand: number
  readonly counters: { channels: number; subscriptions: number; broadcasts: number; deliveries: number }
  /** The position of the last change. It is the cursor of what that change has added to a list. */
  head: number
}

/** The subscriptions of one browser. */
export interface BrowserSubscriptions {
  readonly channels: Set<Channel.Channel>
  /** How many bytes their data have together. */
  dataSize: number
}

/** What a state is made of, beside its limits. */
export interface Options extends Limits {
  readonly epoch: string
  /** The histories of all vhosts. */
  readonly history: History.Total
  readonly rules: Rules.Rules
  readonly clock: Clock.Clock
  /** Channels that are open, one change for each. */
  readonly opened?: ReadonlyArray<string> | undefined
}

/** Makes a state. */
export const make = (options: Options): VhostState => {
  const state: VhostState = {
    limits: options,
    epoch: options.epoch,
    largest: options.maxMessageSize + envelopeSize,
    channels: new Map(),
    ordered: OrderedList.make(),
    subscriptions: new Map(),
    browsers: BrowserRegistry.make(),
    histories: History.make(options, options.history, () => Timeline.nowOf(options.clock)),
    departed: Departed.make(0),
    rules: options.rules,
    onDemand: 0,
    counters: { channels: 0, subscriptions: 0, broadcasts: 0, deliveries: 0 },
    head: 0
  }
  for (const name of options.opened ?? []) {
    state.head++
    addChannel(state, name, false)
  }
  state.departed.floor = state.head
  return state
}

/** An open channel. */
export const channelOf = ({ channels }: VhostState, name: string): Channel.Channel | undefined =>
  channels.get(name)?.value

/** A channel as it would be opened, on demand or by a backend. */
export const newChannel = (
  { departed, head, rules }: VhostState,
  name: string,
  isOnDemand: boolean
): Channel.Channel => {
  const rule = Rules.ruleOf(rules, name)
  const kind = ChannelName.kind(name)
  const { floor, opened } = rule.openOnDemand ? Departed.beginningOf(departed, name) : { floor: head, opened: head }
  return Channel.make({
    name,
    // Without members a presence channel is a private one.
    kind: kind === "presence" && !rule.presence ? "private" : kind,
    rule,
    history: rule.history && History.open(rule.history, opened, floor),
    isOnDemand
  })
}

/** Opens a channel. */
export const addChannel = (state: VhostState, name: string, isOnDemand: boolean): Channel.Channel => {
  const { channels, counters, departed, head, ordered } = state
  const channel = newChannel(state, name, isOnDemand)
  const entry = { cursor: head, value: channel }
  channels.set(name, entry)
  OrderedList.append(ordered, entry)
  counters.channels++
  if (isOnDemand) state.onDemand++
  Departed.forget(departed, name)
  return channel
}

/** A backend opens a channel that was opened on demand: it stays open. */
export const keepOpen = (state: VhostState, channel: Channel.Channel): void => {
  if (!channel.isOnDemand) return
  channel.isOnDemand = false
  state.onDemand--
}

/** Closes a channel that has no subscribers any more, for a backend. Who comes back is told that it was closed. */
export const removeChannel = (state: VhostState, channel: Channel.Channel): void =>
  remove(state, channel, { opened: state.head, floor: state.head })

/** Closes a channel that was opened on demand once it has neither subscribers nor retained broadcasts. */
export const closeIfUnused = (state: VhostState, channel: Channel.Channel): void => {
  const { history, isOnDemand, subscriptions } = channel
  if (!isOnDemand || subscriptions.size > 0) return
  if (history === undefined || History.isEmpty(history)) return remove(state, channel, history)
  history.onEmptied = () => closeIfUnused(state, channel)
}

const remove = (
  state: VhostState,
  { history, isOnDemand, name, rule }: Channel.Channel,
  beginning: Departed.Beginning | undefined
): void => {
  const { channels, counters, departed, histories, ordered } = state
  const entry = channels.get(name)
  if (entry === undefined) return
  if (history !== undefined) History.close(histories, history)
  if (beginning !== undefined && rule.openOnDemand) Departed.remember(departed, name, beginning)
  channels.delete(name)
  OrderedList.remove(ordered, entry)
  counters.channels--
  if (isOnDemand) state.onDemand--
}

/** Channels have other rules now, those that are open too. Their subscribers stay, and presence channels have members as before. */
export const setRules = (state: VhostState, rules: Rules.Rules): void => {
  const limits = new Map<History.History, History.ChannelLimits>()
  state.rules = rules
  // What was broadcast on a channel that is not open was not retained, whatever its rule is now.
  Departed.forgetAll(state.departed, state.head)
  for (const { value: channel } of state.channels.values()) {
    if (channel === undefined) continue
    const rule = channel.rule = Rules.ruleOf(rules, channel.name)
    if (channel.history !== undefined && rule.history === undefined) {
      History.close(state.histories, channel.history)
      channel.history = undefined
    } else if (channel.history === undefined && rule.history !== undefined) {
      channel.history = History.open(rule.history, state.head)
    }
    if (channel.history !== undefined) limits.set(channel.history, rule.history!)
  }
  History.limit(state.histories, limits)
  for (const { value: channel } of [...state.channels.values()]) {
    if (channel !== undefined) closeIfUnused(state, channel)
  }
}

/** Adds a subscription of a browser that is not subscribed. */
export const addSubscription = (state: VhostState, channel: Channel.Channel, subscription: Subscription): void => {
  const { browser, data, hidden, member } = subscription
  const entry = { cursor: state.head, value: subscription }
  channel.subscriptions.set(browser, entry)
  if (!hidden) OrderedList.append(channel.visible, entry)
  if (member !== undefined) channel.membersOf.set(member.uid, (channel.membersOf.get(member.uid) ?? 0) + 1)
  state.counters.subscriptions++
  const own = state.subscriptions.get(browser)
  if (own === undefined) state.subscriptions.set(browser, { channels: new Set([channel]), dataSize: sizeOf(data) })
  else {
    own.channels.add(channel)
    own.dataSize += sizeOf(data)
  }
}

/** Removes the subscription of a browser, and returns whether there was one. */
export const removeSubscription = (state: VhostState, channel: Channel.Channel, browser: Browser): boolean => {
  const entry = channel.subscriptions.get(browser)
  const own = state.subscriptions.get(browser)
  if (entry?.value === undefined || own === undefined) return false
  const { data, hidden, member } = entry.value
  channel.subscriptions.delete(browser)
  if (!hidden) OrderedList.remove(channel.visible, entry)
  if (member !== undefined) {
    const others = channel.membersOf.get(member.uid)! - 1
    if (others === 0) channel.membersOf.delete(member.uid)
    else channel.membersOf.set(member.uid, others)
  }
  state.counters.subscriptions--
  own.channels.delete(channel)
  own.dataSize -= sizeOf(data)
  if (own.channels.size === 0) state.subscriptions.delete(browser)
  return true
}

/** A part of a channel's members that fits into any browser's outbound queue, and at least `least`. */
export const membersAfter = (
  { limits }: VhostState,
  channel: Channel.Channel,
  cursor: number,
  options: { readonly least: number; readonly except: Browser | undefined }
) =>
  Channel.membersAfter(channel, cursor, {
    ...options,
    maxBytes: Math.min(limits.presenceListSize, limits.outboxSize / 4)
  })

/** How many bytes data count. Data without members cost nothing. */
export const sizeOf = (data: JsonText.ObjectText): number => isEmpty(data) ? 0 : byteLength(data.text)

/** Whether data have no members. */
export const isEmpty = ({ text }: JsonText.ObjectText): boolean => text === JsonText.empty.text
