/**
 * The inboxes of users: what backends send to a user goes to all its browsers, and is retained for those that are away.
 *
 * An inbox is a channel that only the browsers of its user can subscribe to, by the name `:user`, which no other channel can
 * have. It exists while one of them is subscribed. What it retains outlasts that, for at most `limit` users: beyond it the one
 * is forgotten whose inbox got nothing for longest. Whoever comes back after something was forgotten is told of a gap, if it may
 * have been for them. The first rule whose pattern names and matches `:user` is that of all inboxes.
 */

import * as SizedMap from "../../../protocol/SizedMap.ts"
import * as Channel from "./channel.ts"
import * as History from "./history.ts"
import { ownText } from "./ownText.ts"
import { inboxName, type Rule } from "./rules.ts"

/** The name of the own inbox, for browsers. */
export const name = inboxName

/** The inboxes of one vhost. */
export interface Inboxes {
  /** The inboxes with subscribers, by their users. */
  readonly attended: Map<string, Channel.Channel>
  /** What is retained for the other users. Last is the one that has got something last. */
  readonly unattended: SizedMap.SizedMap<History.History>
  /** Of how many other users something is retained at most. */
  limit: number
  readonly histories: History.Histories
  /** Called when `floor` is another one. */
  readonly onForgotten: () => void
  rule: Rule
  /** The position of the last message that was forgotten of any user. */
  floor: number
}

/** None yet. Nothing is retained of what was sent up to `floor`. */
export const make = (options: Omit<Inboxes, "attended" | "unattended">): Inboxes => ({
  ...options,
  attended: new Map(),
  unattended: SizedMap.make(() => 1)
})

/** Whether a channel is an inbox. */
export const isInbox = (channel: Channel.Channel): boolean => channel.name === name

/** The inbox of a user. One without subscribers is not known before `attend`. */
export const get = (inboxes: Inboxes, uid: string): Channel.Channel => {
  const known = inboxes.attended.get(uid)
  if (known !== undefined) return known
  const inbox = Channel.make({ name, kind: "normal", rule: inboxes.rule, isOnDemand: false })
  inbox.history = historyOf(inboxes, uid)
  return inbox
}

/** The inbox has its first subscriber. */
export const attend = ({ attended, unattended }: Inboxes, uid: string, inbox: Channel.Channel): void => {
  attended.set(uid, inbox)
  unattended.remove(uid)
}

/** The last subscriber of an inbox has left. */
export const leave = (inboxes: Inboxes, uid: string, { history }: Channel.Channel): void => {
  inboxes.attended.delete(uid)
  if (history === undefined) return
  // Without a trace of a message the next one begins where this one is.
  if (!History.isEmpty(history) || history.floor > inboxes.floor) retain(inboxes, uid, history)
  else forget(inboxes, history)
}

/** Retains a message to a user, if inboxes have a history. */
export const append = (
  inboxes: Inboxes,
  uid: string,
  entry: Pick<History.Broadcast, "position" | "message">
): void => {
  const inbox = inboxes.attended.get(uid)
  const history = inbox === undefined ? historyOf(inboxes, uid) : inbox.history
  if (history === undefined) return
  History.append(inboxes.histories, history, { ...entry, exceptSid: undefined })
  if (inbox === undefined) retain(inboxes, uid, history)
}

/** Inboxes have another rule now. Without a history before or after it, nothing up to this position is retained. */
export const setRule = (inboxes: Inboxes, rule: Rule, position: number): void => {
  const { attended, unattended } = inboxes
  const isKept = inboxes.rule.history !== undefined && rule.history !== undefined
  inboxes.rule = rule
  for (const inbox of attended.values()) inbox.rule = rule
  if (isKept) return
  for (let oldest = unattended.removeOldest(); oldest; oldest = unattended.removeOldest()) forget(inboxes, oldest[1])
  inboxes.floor = position
  for (const [uid, inbox] of attended) {
    if (inbox.history !== undefined) forget(inboxes, inbox.history)
    inbox.history = historyOf(inboxes, uid)
  }
}

/** The limits of all that is retained. */
export const limits = function*(
  { attended, rule, unattended }: Inboxes
): Iterable<readonly [History.History, History.ChannelLimits]> {
  if (rule.history === undefined) return
  for (const history of unattended.entries.values()) yield [history, rule.history]
  for (const { history } of attended.values()) if (history !== undefined) yield [history, rule.history]
}

const historyOf = ({ floor, rule, unattended }: Inboxes, uid: string): History.History | undefined =>
  rule.history && (unattended.entries.get(uid) ?? History.open(ownerOf(uid), rule.history, 0, floor))

const retain = (inboxes: Inboxes, uid: string, history: History.History): void => {
  const { limit, unattended } = inboxes
  unattended.remove(uid)
  unattended.set(ownText(uid), history)
  while (unattended.size() > limit) {
    const [, oldest] = unattended.removeOldest()!
    forget(inboxes, oldest)
    inboxes.floor = Math.max(inboxes.floor, oldest.floor)
    inboxes.onForgotten()
  }
}

const forget = ({ histories }: Inboxes, history: History.History): void => {
  History.close(histories, history)
  // Only of one that had a message something is stored.
  if (history.lane !== undefined) histories.recorder?.closed(history)
}

// What a store calls an inbox. No channel can have such a name.
const prefix = `${name}:`
const ownerOf = (uid: string): History.Owner => ({ name: ownText(storedName(uid)), isOnDemand: true })

/** What a store calls the inbox of a user. */
export const storedName = (uid: string): string => `${prefix}${uid}`

/** Whether this is what a store calls an inbox. */
export const isStored = (stored: string): boolean => stored.startsWith(prefix)

/** What is stored of an inbox. */
interface Stored {
  readonly name: string
  readonly opened?: number | undefined
  readonly floor?: number | undefined
}

/** Restores the history of an inbox, if inboxes have one. What was retained is restored into it. */
export const restore = (
  { rule, unattended }: Inboxes,
  { floor = 0, name, opened = 0 }: Stored
): void => {
  const uid = name.slice(prefix.length)
  if (rule.history !== undefined) unattended.set(uid, History.open(ownerOf(uid), rule.history, opened, floor))
}

/** The history that was restored by this name. */
export const restored = ({ unattended }: Inboxes, stored: string): History.History | undefined =>
  unattended.entries.get(stored.slice(prefix.length))
