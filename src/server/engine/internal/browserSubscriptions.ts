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

// A subscription never changes: another one takes its place. Of those that may be shared only the last one is compared, so others
// before it are passed once.
const share = (channels: ReadonlyArray<Channel>, subscription: Subscription): Subscription => {
  const { browser, byBackend, hidden, uid } = subscription
  for (let index = channels.length - 1; index >= 0; index--) {
    const before = channels[index]!.subscriptions.get(browser)?.value
    if (before === undefined || !isPlain(before)) continue
    const isSame = before.hidden === hidden && before.byBackend === byBackend && before.uid === uid
    return isSame ? before : subscription
  }
  return subscription
}

/** Whether it is like others of its browser, without data and `info`. */
const isPlain = ({ data, info, member }: Subscription): boolean =>
  member === undefined && info === undefined && sizeOf(data) === 0
