/**
 * The subscriptions of each browser of a vhost: to which channels, and how many bytes their data have.
 *
 * There may be millions, so they take little memory: subscriptions of a browser that say the same are one object.
 */

import type { Browser, Subscription } from "../../domain/Browser.ts"
import type { Channel } from "./channel.ts"
import { sizeOf } from "./member.ts"

/** The subscriptions of one browser. */
export interface BrowserSubscriptions {
  /** In the order of the subscriptions. An array, since of the few that most browsers have a set takes more memory. */
  channels: Array<Channel>
  /** How many bytes their data have together. */
  dataSize: number
  /** The last one without data and `info`, which later ones share that are the same. */
  plain: Subscription | undefined
}

/** The subscriptions of all browsers that have one. */
export type All = Map<Browser, BrowserSubscriptions>

/** Beyond how many channels their array grows: it then has room for 17 with the first one, and a copy has room for no more. */
const few = 16

/** Adds a subscription to a channel, and returns it, or another one that is the same. */
export const add = (all: All, channel: Channel, subscription: Subscription): Subscription => {
  const { browser, data } = subscription
  const known = all.get(browser)
  const own = known ?? { channels: [], dataSize: 0, plain: undefined }
  if (known === undefined) all.set(browser, own)
  if (own.channels.length < few) own.channels = own.channels.concat(channel)
  else own.channels.push(channel)
  own.dataSize += sizeOf(data)
  return share(own, subscription)
}

/** Removes a subscription. */
export const remove = (all: All, channel: Channel, { browser, data }: Subscription): void => {
  const own = all.get(browser)
  if (own === undefined) return
  own.channels.splice(own.channels.indexOf(channel), 1)
  own.dataSize -= sizeOf(data)
  if (own.channels.length === 0) all.delete(browser)
}

// A subscription never changes: another one takes its place.
const share = (own: BrowserSubscriptions, subscription: Subscription): Subscription => {
  const { plain } = own
  const { byBackend, data, hidden, info, member, uid } = subscription
  if (member !== undefined || info !== undefined || sizeOf(data) > 0) return subscription
  const isSame = plain?.hidden === hidden && plain.byBackend === byBackend && plain.uid === uid
  return isSame ? plain : own.plain = subscription
}
