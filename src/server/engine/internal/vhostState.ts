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
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import * as OrderedList from "./orderedList.ts"
import * as Timeline from "./timeline.ts"

/** The limits, see `BrokerConfig`. */
export interface Limits extends History.Limits {
  readonly maxChannels: number
  readonly maxMessageSize: number
  readonly maxSubscriptions: number
  readonly memberDataSize: number
  readonly browserDataSize: number
  readonly presenceListSize: number
  readonly outboxSize: number
  readonly historyMaxUsers: number
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
  readonly inboxes: Inboxes.Inboxes
  /** Whether a channel with this name has a history. */
  readonly hasHistory: (channel: string) => boolean
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
  readonly hasHistory: VhostState["hasHistory"]
  readonly clock: Clock.Clock
  /** Channels that are open, one change for each. */
  readonly opened?: ReadonlyArray<string> | undefined
}

/** Makes a state. */
export const make = (options: Options): VhostState => {
  const histories = History.make(options, options.history, () => Timeline.nowOf(options.clock))
  const opened = options.opened ?? []
  const state: VhostState = {
    limits: options,
    epoch: options.epoch,
    largest: options.maxMessageSize + envelopeSize,
    channels: new Map(),
    ordered: OrderedList.make(),
    subscriptions: new Map(),
    browsers: BrowserRegistry.make(),
    histories,
    inboxes: Inboxes.make({
      limit: options.historyMaxUsers,
      histories,
      hasHistory: options.hasHistory(Inboxes.name),
      floor: opened.length
    }),
    hasHistory: options.hasHistory,
    counters: { channels: 0, subscriptions: 0, broadcasts: 0, deliveries: 0 },
    head: 0
  }
  for (const name of opened) {
    state.head++
    addChannel(state, name)
  }
  return state
}

/** An open channel. */
export const channelOf = ({ channels }: VhostState, name: string): Channel.Channel | undefined =>
  channels.get(name)?.value

/** The channel that a browser calls by this name: an open one, or the inbox of its user. */
export const channelFor = (state: VhostState, name: string, { uid }: { readonly uid: string | undefined }) =>
  name !== Inboxes.name ? channelOf(state, name) : uid === undefined ? undefined : Inboxes.get(state.inboxes, uid)

/** Opens a channel. */
export const addChannel = ({ channels, counters, hasHistory, head, ordered }: VhostState, name: string): void => {
  const history = hasHistory(name) ? History.open(head) : undefined
  const entry = { cursor: head, value: Channel.make(name, ChannelName.kind(name), history) }
  channels.set(name, entry)
  OrderedList.append(ordered, entry)
  counters.channels++
}

/** Closes a channel that has no subscribers any more. */
export const removeChannel = ({ channels, counters, histories, ordered }: VhostState, name: string): void => {
  const entry = channels.get(name)
  if (entry === undefined) return
  if (entry.value?.history !== undefined) History.close(histories, entry.value.history)
  channels.delete(name)
  OrderedList.remove(ordered, entry)
  counters.channels--
}

/** Adds a subscription of a browser that is not subscribed. */
export const addSubscription = (state: VhostState, channel: Channel.Channel, subscription: Subscription): void => {
  const { browser, data, hidden, member, uid } = subscription
  const entry = { cursor: state.head, value: subscription }
  if (Inboxes.isInbox(channel) && channel.subscriptions.size === 0) Inboxes.attend(state.inboxes, uid!, channel)
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
  const { data, hidden, member, uid } = entry.value
  channel.subscriptions.delete(browser)
  if (Inboxes.isInbox(channel) && channel.subscriptions.size === 0) Inboxes.leave(state.inboxes, uid!, channel)
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
