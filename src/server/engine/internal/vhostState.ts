/**
 * The state of a vhost that follows from its changes: its open channels, and who is subscribed to them.
 *
 * Decisions read it, and only changes write it. Beside it are the browsers that are connected to this broker, which enter and
 * leave by themselves.
 */

import type * as Clock from "effect/Clock"
import { constVoid } from "effect/Function"
import * as ChannelName from "../../../protocol/ChannelName.ts"
import { envelopeSize } from "../../../protocol/Frame.ts"
import type { Browser, Subscription } from "../../domain/Browser.ts"
import * as BrowserRegistry from "./browserRegistry.ts"
import * as BrowserSubscriptions from "./browserSubscriptions.ts"
import * as Channel from "./channel.ts"
import * as Departed from "./departed.ts"
import * as Graces from "./graces.ts"
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import type { Lags } from "./lags.ts"
import * as OrderedList from "./orderedList.ts"
import { ownText } from "./ownText.ts"
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
  readonly historyMaxUsers: number
  readonly graceSize: number
}

/** The state of one vhost. */
export interface VhostState {
  /** Set by `setLimits`. */
  limits: Limits
  /** Names the positions: those of another log have another epoch. */
  readonly epoch: string
  /** How many bytes a message to browsers has at most. */
  largest: number
  readonly channels: Map<string, OrderedList.Entry<Channel.Channel>>
  /** The open channels in the order of their opening. */
  readonly ordered: OrderedList.OrderedList<Channel.Channel>
  readonly subscriptions: BrowserSubscriptions.All
  readonly browsers: BrowserRegistry.BrowserRegistry
  readonly histories: History.Histories
  readonly inboxes: Inboxes.Inboxes
  readonly graces: Graces.Graces
  /** What broadcasts are measured by, if they are. */
  readonly lags: Pick<Lags, "ofRule"> | undefined
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Of the channels that were opened on demand, those that are closed again. */
  readonly departed: Departed.Departed
  /** What channels are like, by their names. */
  rules: Rules.Rules
  /** How many channels are open that were opened on demand. */
  onDemand: number
  readonly counters: { channels: number; subscriptions: number; broadcasts: number; deliveries: number }
  /** The position of the last change. It is the cursor of what that change has added to a list. */
  head: number
  /** The last position that may be used outside: those beyond it are not reserved in the store, see `positions.ts`. */
  reserved: number
  /** Called when `departed.highest` or the rules have changed. */
  onDeparted: () => void
}

/** What a state is made of, beside its limits. */
export interface Options extends Limits {
  readonly epoch: string
  /** The histories of all vhosts. */
  readonly history: History.Total
  readonly rules: Rules.Rules
  readonly clock: Clock.Clock
  /** The time of what is decided and applied, in milliseconds that never go back, default that of the clock. */
  readonly now?: (() => number) | undefined
  /** The last position of an earlier log with this epoch, default 0. */
  readonly head?: number | undefined
  /** Of an earlier log, the last position of a channel that was opened on demand and closed again, default `head`. */
  readonly floor?: number | undefined
  /** Channels that are open, one change for each. */
  readonly opened?: ReadonlyArray<StoredChannel> | undefined
  /** What broadcasts are measured by, default nothing. */
  readonly lags?: Pick<Lags, "ofRule"> | undefined
  /** Records the histories, default nowhere. */
  readonly recorder?: History.Recorder | undefined
}

/** A channel that is open, and its history, if it had one. */
export interface StoredChannel {
  readonly name: string
  readonly opened?: number | undefined
  readonly floor?: number | undefined
  /** 1 if it was opened on demand. */
  readonly onDemand?: number | undefined
}

/** Makes a state. */
export const make = (
  {
    clock,
    epoch,
    floor,
    head = 0,
    history,
    lags,
    now = () => Timeline.nowOf(clock),
    opened,
    recorder,
    rules,
    ...limits
  }: Options
): VhostState => {
  const histories = History.make(limits, history, now, recorder)
  const state: VhostState = {
    limits,
    epoch,
    largest: largestOf(limits),
    channels: new Map(),
    ordered: OrderedList.make(),
    subscriptions: BrowserSubscriptions.make(),
    browsers: BrowserRegistry.make(),
    histories,
    inboxes: Inboxes.make({
      limit: limits.historyMaxUsers,
      histories,
      rule: Rules.ruleOf(rules, Inboxes.name),
      floor: 0,
      onForgotten: () => state.onDeparted()
    }),
    graces: Graces.make(limits.graceSize),
    lags,
    now,
    departed: Departed.make(0),
    rules,
    onDemand: 0,
    counters: { channels: 0, subscriptions: 0, broadcasts: 0, deliveries: 0 },
    head,
    reserved: recorder === undefined ? Infinity : head,
    onDeparted: constVoid
  }
  for (const channel of opened ?? []) {
    state.head++
    if (Inboxes.isStored(channel.name)) Inboxes.restore(state.inboxes, channel)
    else if (channel.onDemand === undefined || Rules.ruleOf(rules, channel.name).openOnDemand) {
      addChannel(state, channel)
    }
  }
  Departed.forgetAll(state.departed, floor ?? state.head)
  state.inboxes.floor = floor ?? state.head
  return state
}

/** Replaces the limits. What is beyond them now stays until something is added. */
export const setLimits = (state: VhostState, limits: Limits): void => {
  state.limits = state.histories.limits = limits
  state.largest = largestOf(limits)
  state.inboxes.limit = limits.historyMaxUsers
  state.graces.limit = limits.graceSize
}

const largestOf = ({ maxMessageSize }: Limits): number => maxMessageSize + envelopeSize

/** An open channel. */
export const channelOf = ({ channels }: VhostState, name: string): Channel.Channel | undefined =>
  channels.get(name)?.value

/** The channel that a browser calls by this name: an open one, or the inbox of its user. */
export const channelFor = (state: VhostState, name: string, { uid }: { readonly uid: string | undefined }) =>
  name !== Inboxes.name ? channelOf(state, name) : uid === undefined ? undefined : Inboxes.get(state.inboxes, uid)

/** The last position that browsers may learn of: all that is retained has one up to it. */
export const positionOf = ({ head, reserved }: VhostState): number => Math.min(head, reserved)

/** A channel as it would be opened, or as it was open in an earlier broker. */
export const newChannel = ({ departed, head, rules }: VhostState, stored: StoredChannel): Channel.Channel => {
  const { name, onDemand } = stored
  const rule = Rules.ruleOf(rules, name)
  const kind = ChannelName.kind(name)
  const standard = rule.openOnDemand ? Departed.beginningOf(departed, name) : { floor: head, opened: head }
  const channel = Channel.make({
    name,
    // Without members a presence channel is a private one.
    kind: kind === "presence" && !rule.presence ? "private" : kind,
    rule,
    isOnDemand: onDemand !== undefined
  })
  if (rule.history !== undefined) {
    const { floor = standard.floor, opened = standard.opened } = stored
    channel.history = History.open(channel, rule.history, opened, floor)
  }
  return channel
}

/** Opens a channel. */
export const addChannel = (state: VhostState, stored: StoredChannel): Channel.Channel => {
  const name = ownText(stored.name)
  const channel = newChannel(state, { ...stored, name })
  putChannel(state, channel, state.head)
  Departed.forget(state.departed, name)
  return channel
}

/** Adds a channel to those that are open, with its cursor among them. */
export const putChannel = (state: VhostState, channel: Channel.Channel, cursor: number): void => {
  const entry = { cursor, value: channel }
  state.channels.set(channel.name, entry)
  OrderedList.append(state.ordered, entry)
  state.counters.channels++
  if (channel.isOnDemand) state.onDemand++
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

/** Closes a channel that was opened on demand once it has neither subscribers, members in grace nor retained broadcasts. */
export const closeIfUnused = (state: VhostState, channel: Channel.Channel): void => {
  const { history, isOnDemand } = channel
  if (!isOnDemand || Channel.isOccupied(channel)) return
  if (history === undefined || History.isEmpty(history)) return remove(state, channel, history)
  history.onEmptied = () => closeIfUnused(state, channel)
}

const remove = (
  state: VhostState,
  channel: Channel.Channel,
  beginning: Departed.Beginning | undefined
): void => {
  const { history, isOnDemand, name, rule } = channel
  const { channels, counters, departed, graces, histories, ordered } = state
  const entry = channels.get(name)
  if (entry === undefined) return
  if (history !== undefined) History.close(histories, history)
  if (history !== undefined && isOnDemand) histories.recorder?.closed(history)
  Graces.endAll(graces, channel)
  if (beginning !== undefined && rule.openOnDemand && Departed.remember(departed, name, beginning)) state.onDeparted()
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
  state.onDeparted()
  for (const { value: channel } of state.channels.values()) {
    if (channel === undefined) continue
    const rule = channel.rule = Rules.ruleOf(rules, channel.name)
    if (channel.history !== undefined && rule.history === undefined) {
      History.close(state.histories, channel.history)
      if (channel.isOnDemand) state.histories.recorder?.closed(channel.history)
      channel.history = undefined
    } else if (channel.history === undefined && rule.history !== undefined) {
      channel.history = History.open(channel, rule.history, state.head)
    }
    if (channel.history === undefined) continue
    channel.history.limits = rule.history!
    // What was never retained has no place among what is.
    if (channel.history.lane !== undefined) limits.set(channel.history, rule.history!)
  }
  Inboxes.setRule(state.inboxes, Rules.ruleOf(rules, Inboxes.name), state.head)
  for (const [history, own] of Inboxes.limits(state.inboxes)) limits.set(history, own)
  History.limit(state.histories, limits)
  if (state.onDemand === 0) return
  for (const { value: channel } of [...state.channels.values()]) {
    if (channel !== undefined) closeIfUnused(state, channel)
  }
}

/** Adds a subscription of a browser that is not subscribed, or gives it the place in the list that another had. */
export const addSubscription = (
  state: VhostState,
  channel: Channel.Channel,
  subscription: Subscription,
  place?: OrderedList.Entry<Subscription>
): void => {
  const { browser, uid } = subscription
  const value = BrowserSubscriptions.add(state.subscriptions, channel, subscription)
  const entry = place ?? { cursor: state.head, value }
  entry.value = value
  if (Inboxes.isInbox(channel) && channel.subscriptions.size === 0) Inboxes.attend(state.inboxes, uid!, channel)
  channel.subscriptions.set(browser, entry)
  if (place === undefined) addToList(channel, entry)
  state.counters.subscriptions++
}

/** Adds a subscription to the list, unless it is hidden, and to the members. */
export const addToList = ({ membersOf, visible }: Channel.Channel, entry: OrderedList.Entry<Subscription>): void => {
  if (entry.value === undefined) return
  const { hidden, member } = entry.value
  if (!hidden) OrderedList.append(visible, entry)
  if (member !== undefined) membersOf.set(member.uid, (membersOf.get(member.uid) ?? 0) + 1)
}

/** Changes the data of a browser's subscription, and returns whether there is one. */
export const updateSubscription = (
  state: VhostState,
  channel: Channel.Channel,
  subscription: Subscription
): boolean => {
  const entry = channel.subscriptions.get(subscription.browser)
  if (entry?.value === undefined) return false
  BrowserSubscriptions.resize(state.subscriptions, entry.value, subscription)
  entry.value = subscription
  return true
}

/** Removes the subscription of a browser, and returns whether there was one. */
export const removeSubscription = (state: VhostState, channel: Channel.Channel, browser: Browser): boolean => {
  const entry = detachSubscription(state, channel, browser)
  if (entry !== undefined) removeFromList(channel, entry)
  return entry !== undefined
}

/** Removes the subscription of a browser, but not from the list, and returns its place there. */
export const detachSubscription = (
  state: VhostState,
  channel: Channel.Channel,
  browser: Browser
): OrderedList.Entry<Subscription> | undefined => {
  const entry = channel.subscriptions.get(browser)
  if (entry?.value === undefined) return undefined
  channel.subscriptions.delete(browser)
  if (Inboxes.isInbox(channel) && channel.subscriptions.size === 0) {
    Inboxes.leave(state.inboxes, entry.value.uid!, channel)
  }
  state.counters.subscriptions--
  BrowserSubscriptions.remove(state.subscriptions, channel, entry.value)
  return entry
}

/** Removes a subscription that was detached from the list, and from the members. */
export const removeFromList = (
  { membersOf, visible }: Channel.Channel,
  entry: OrderedList.Entry<Subscription>
): void => {
  if (entry.value === undefined) return
  const { hidden, member } = entry.value
  if (!hidden) OrderedList.remove(visible, entry)
  if (member === undefined) return
  const others = membersOf.get(member.uid)! - 1
  if (others === 0) membersOf.delete(member.uid)
  else membersOf.set(member.uid, others)
}

/** A part of a channel's members that fits into any browser's outbound queue, and at least `least`. */
export const membersAfter = (
  { limits }: VhostState,
  channel: Channel.Channel,
  cursor: number,
  options: { readonly least: number; readonly except: Browser | undefined; readonly version: Browser["version"] }
) =>
  Channel.membersAfter(channel, cursor, {
    ...options,
    maxBytes: Math.min(limits.presenceListSize, limits.outboxSize / 4)
  })
