/**
 * The connections of a vhost that have ended and may come back: until their grace is over their users stay members, and their
 * channels occupied.
 *
 * A member in grace keeps its place in the list of its channel, until another connection of the user takes it over or the grace
 * ends. Of browsers that are no members one grace for each channel is enough: it keeps the channel occupied.
 *
 * The bytes of all graces are limited; what does not fit gets none. All have one timer. Time in which the process stood still does
 * not count, because no browser could come back then.
 */

import { constVoid } from "effect/Function"
import type { Browser, MemberSubscription, Subscription } from "../../domain/Browser.ts"
import type { Channel, Grace } from "./channel.ts"
import * as Heap from "./heap.ts"
import { isMember } from "./member.ts"
import type * as OrderedList from "./orderedList.ts"

/** A grace among all of its vhost. */
export type Entry = Heap.Entry<Grace>

/** What a member in grace is known by. */
type Name = "uid" | "sid"

/** The graces of one vhost. */
export interface Graces {
  limit: number
  readonly ends: Heap.Heap<Grace>
  /** Those of members, by their users and by their connections. */
  readonly members: Readonly<Record<Name, Map<string, Set<Entry>>>>
  /** How many bytes they take. */
  size: number
  /** For how many milliseconds the process stood still. */
  stood: number
}

/** What a grace takes beside the data of a member. */
const overhead = 512

/** How many milliseconds a timer may be late before it shows that the process stood still. */
const tolerance = 1000

/** No grace, of a vhost whose graces take at most `limit` bytes. */
export const make = (limit: number): Graces => ({
  limit,
  ends: Heap.make((one, other) => one.until < other.until),
  members: { uid: new Map(), sid: new Map() },
  size: 0,
  stood: 0
})

/** The time by which graces end, from the monotonic time. */
export const timeOf = ({ stood }: Graces, now: number): number => now - stood

/** Whether there is room for another one: of a member, or of a channel that has none yet. */
export const fits = ({ limit, size }: Graces, channel: Channel, member: MemberSubscription | undefined): boolean =>
  member === undefined && channel.graces?.has(undefined) === true || size + sizeOf(member) <= limit

/**
 * Begins one. Another browser that is no member prolongs that of its channel. Of the connection of a member only its name is
 * kept.
 */
export const begin = (
  graces: Graces,
  channel: Channel,
  member: OrderedList.Entry<Subscription> | undefined,
  until: number
): void => {
  const uid = member?.value?.member?.uid
  const known = channel.graces?.get(uid)
  const own = uid === undefined ? known?.[0] : undefined
  if (own !== undefined) {
    own.item.until = Math.max(own.item.until, until)
    return graces.ends.put(own)
  }
  const subscription = member?.value
  if (member !== undefined && subscription !== undefined) {
    member.value = { ...subscription, browser: ended(subscription.browser) }
  }
  const size = sizeOf(isMember(subscription) ? subscription : undefined)
  const entry = Heap.entryOf<Grace>({ channel, uid, member, until, size })
  graces.ends.put(entry)
  graces.size += size
  for (const [by, who] of namesOf(entry.item)) add(graces.members[by], who, entry)
  if (known !== undefined) known.push(entry)
  else (channel.graces ??= new Map()).set(uid, [entry])
}

/** The oldest grace of a user on a channel, or that of this connection; without a user that of browsers that are no members. */
export const find = ({ graces }: Channel, uid: string | undefined, sid?: string): Entry | undefined => {
  const known = graces?.get(uid)
  return sid === undefined ? known?.[0] : known?.find(({ item }) => item.member?.value?.browser.sid === sid)
}

/** All of a user, or of a connection, as members. */
export const findMembers = ({ members }: Graces, by: Name, who: string): ReadonlyArray<Grace> =>
  Array.from(members[by].get(who) ?? [], ({ item }) => item)

/** How many there are on a channel. */
export const count = ({ graces }: Channel): number => {
  let sum = 0
  for (const theirs of graces?.values() ?? []) sum += theirs.length
  return sum
}

/** Ends one. The member's place in the list stays. */
export const end = (graces: Graces, entry: Entry): void => {
  const { channel, size, uid } = entry.item
  const others = channel.graces?.get(uid)?.filter((other) => other !== entry) ?? []
  graces.ends.remove(entry)
  graces.size -= size
  for (const [by, who] of namesOf(entry.item)) remove(graces.members[by], who, entry)
  if (others.length > 0) channel.graces?.set(uid, others)
  else channel.graces?.delete(uid)
  if (channel.graces?.size === 0) channel.graces = undefined
}

/** Ends all of a channel that is closed. */
export const endAll = (graces: Graces, channel: Channel): void => {
  for (const theirs of [...channel.graces?.values() ?? []]) theirs.forEach((entry) => end(graces, entry))
}

/** When the next one ends, in monotonic time; `undefined` without one. */
export const nextDue = ({ ends, stood }: Graces): number | undefined => {
  const next = ends.peek()
  return next && next.until + stood
}

/** The next one whose time is over. If the process stood still, each gets that time, and a second to come back. */
export const due = (graces: Graces, now: number): Grace | undefined => {
  const next = graces.ends.peek()
  if (next === undefined) return undefined
  const late = timeOf(graces, now) - next.until
  if (late > tolerance) graces.stood += late + tolerance
  return late < 0 || late > tolerance ? undefined : next
}

const namesOf = ({ member, uid }: Grace): ReadonlyArray<readonly [Name, string]> => {
  const sid = member?.value?.browser.sid
  return uid === undefined || sid === undefined ? [] : [["uid", uid], ["sid", sid]]
}

const add = (entries: Map<string, Set<Entry>>, who: string, entry: Entry): void => {
  const theirs = entries.get(who)
  if (theirs === undefined) entries.set(who, new Set([entry]))
  else theirs.add(entry)
}

const remove = (entries: Map<string, Set<Entry>>, who: string, entry: Entry): void => {
  const theirs = entries.get(who)
  if (theirs?.delete(entry) === true && theirs.size === 0) entries.delete(who)
}

// A connection has a socket and buffers, which are far larger than what is counted.
const ended = ({ sid, version }: Browser): Browser => ({ sid, version, sendUnsafe: constVoid, closeUnsafe: constVoid })

const sizeOf = (member: MemberSubscription | undefined): number =>
  overhead + (member === undefined ? 0 : 6 * (textLength(member) + member.member.uid.length))

const textLength = ({ data, info }: MemberSubscription): number => data.text.length + (info?.text.length ?? 0)
