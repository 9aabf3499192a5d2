/**
 * A member as the other browsers on its channel see it, in each version of their protocol.
 *
 * Its JSON is written when the first browser of a version needs it, because all browsers on a channel may be of one version.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import { byteLength } from "../../../protocol/Frame.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Browser, Member, MemberSubscription, Subscription } from "../../domain/Browser.ts"

/** Whether this is the subscription of a member. */
export const isMember = (subscription: Subscription | undefined): subscription is MemberSubscription =>
  subscription?.member !== undefined

/** A member whose JSON is not written yet. */
export const make = (uid: string): Member => ({ uid, texts: [undefined, undefined] })

/** The JSON of a member in lists, and its bytes. */
export const textOf = (
  channel: string,
  { browser: { sid }, data, info, member: { texts, uid } }: MemberSubscription,
  version: Browser["version"]
): { readonly text: string; readonly size: number } => {
  const known = texts[version]
  if (known !== undefined) return known
  const text = version === 0
    ? BrokerMessage.member(channel, uid, data)
    : BrokerMessage.memberConnection({ uid, sid, info, data })
  return texts[version] = { text, size: byteLength(text) }
}

/** The message that a member has joined. */
export const joined = (
  channel: string,
  subscription: MemberSubscription,
  version: Browser["version"]
): string => {
  const { text } = textOf(channel, subscription, version)
  return version === 0 ? BrokerMessage.memberJoined(text) : BrokerMessage.memberChanged("Joined", channel, text)
}

/** The message that the data of a member have changed. */
export const updated = (channel: string, subscription: MemberSubscription): string =>
  BrokerMessage.memberChanged("Updated", channel, textOf(channel, subscription, 1).text)

/** A member as it leaves: its data are merged with what it has said last. */
export const leaving = (subscription: MemberSubscription, farewell: JsonText.ObjectText): MemberSubscription =>
  isEmpty(farewell) ? subscription : {
    ...subscription,
    data: JsonText.merge(subscription.data, farewell),
    member: make(subscription.member.uid)
  }

/** The message that a member has left. */
export const left = (channel: string, subscription: MemberSubscription, version: Browser["version"]): string => {
  const { text } = textOf(channel, subscription, version)
  return version === 0 ? BrokerMessage.memberLeft(text) : BrokerMessage.memberChanged("Left", channel, text)
}

/** Whether others see the same of two subscriptions of a user, but for the connection. */
export const looksLike = (one: MemberSubscription, other: MemberSubscription): boolean =>
  one.data.text === other.data.text && one.info?.text === other.info?.text

/** How many bytes data count. Data without members cost nothing. */
export const sizeOf = (data: JsonText.ObjectText): number => isEmpty(data) ? 0 : byteLength(data.text)

const isEmpty = ({ text }: JsonText.ObjectText): boolean => text === JsonText.empty.text
