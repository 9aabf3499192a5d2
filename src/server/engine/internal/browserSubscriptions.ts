/**
 * The subscriptions of each browser of a vhost: to which channels, and how many bytes their data have.
 *
 * There may be millions, so they take little memory: subscriptions of a browser that say the same are one object.
 */

import type { Browser, Subscription } from "../../domain/Browser.ts"
import type { Channel } from "./channel.ts"
import { sizeOf } from "./member.ts"

/** The subscriptions of all browsers. */
export interface All {
  /**
   * The channels of each browser that has a subscription, in the order of the subscriptions. Arrays, since of the few that most
   * browsers have a set takes more memory.
   */
  readonly channels: Map<Browser, Array<Channel>>
  /** How many bytes the data of a browser have together. Most browsers have no data, and are not here. */
  readonly dataSizes: Map<Browser, number>
}

/** Beyond how many channels their array grows: it then has room for 17 with the first one, and a copy has room for no more. */
const few = 16

/** No subscriptions. */
export const make = (): All => ({ channels: new Map(), dataSizes: new Map() })

/** The channels of a browser, in the order of its subscriptions. */
export const channelsOf = ({ channels }: All, browser: Browser): ReadonlyArray<Channel> => channels.get(browser) ?? none

const none: ReadonlyArray<Channel> = []

/** How many bytes the data of a browser have together. */
export const dataSizeOf = ({ dataSizes }: All, browser: Browser): number => dataSizes.get(browser) ?? 0

/**
 * Adds a subscription to a channel, and returns it, or another one that is the same. The channel has to get that one before the
 * browser subscribes to the next.
 */
export const add = (all: All, channel: Channel, subscription: Subscription): Subscription => {
  const { browser, data } = subscription
  const known = all.channels.get(browser)
  const shared = isPlain(subscription) ? share(known ?? none, subscription) : subscription
  if (known === undefined) all.channels.set(browser, [channel])
  else if (known.length < few) all.channels.set(browser, known.concat(channel))
  else known.push(channel)
  addData(all, browser, sizeOf(data))
  return shared
}

/** Removes a subscription. */
export const remove = (all: All, channel: Channel, { browser, data }: Subscription): void => {
  const channels = all.channels.get(browser)
  if (channels === undefined) return
  channels.splice(channels.indexOf(channel), 1)
  if (channels.length === 0) all.channels.delete(browser)
  addData(all, browser, -sizeOf(data))
}

/** The data of a subscription have other bytes than before. */
export const resize = (all: All, before: Subscription, after: Subscription): void =>
  addData(all, after.browser, sizeOf(after.data) - sizeOf(before.data))

const addData = (all: All, browser: Browser, more: number): void => {
  if (more === 0) return
  const size = dataSizeOf(all, browser) + more
  if (size === 0) all.dataSizes.delete(browser)
  else all.dataSizes.set(browser, size)
}

// A subscription never changes: another one takes its place. What many may share is kept without the fields that are empty in it.
const share = (channels: ReadonlyArray<Channel>, subscription: Subscription): Subscription => {
  const { browser, byBackend, data, hidden, uid } = subscription
  const before = lastPlain(channels, browser)
  const isSame = before?.hidden === hidden && before.byBackend === byBackend && before.uid === uid
  return isSame ? before : { browser, uid, hidden, byBackend, data }
}

// Others are passed until there is a plain one after them, so mostly once.
const lastPlain = (channels: ReadonlyArray<Channel>, browser: Browser): Subscription | undefined => {
  for (let index = channels.length - 1; index >= 0; index--) {
    const value = channels[index]!.subscriptions.get(browser)?.value
    if (value !== undefined && isPlain(value)) return value
  }
  return undefined
}

/** Whether it has neither data nor `info`, as most subscriptions, and may be shared. */
const isPlain = ({ data, info, member }: Subscription): boolean =>
  member === undefined && info === undefined && sizeOf(data) === 0
