/**
 * The inboxes of users: what backends send to a user goes to all its browsers, and is retained for those that are away.
 *
 * An inbox is a channel that only the browsers of its user can subscribe to, by the name `:user`, which no other channel can
 * have. It exists while one of them is subscribed. What it retains outlasts that, for at most `limit` users: beyond it the one
 * is forgotten whose inbox got nothing for longest. Whoever comes back after something was forgotten is told of a gap, if it may
 * have been for them. The rule of `:user` is that of all inboxes.
 */

import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import * as Channel from "./channel.ts"
import * as History from "./history.ts"
import type { Rule } from "./rules.ts"

/** The name of the own inbox, for browsers. */
export const name = ":user"

/** The inboxes of one vhost. */
export interface Inboxes {
  /** The inboxes with subscribers, by their users. */
  readonly attended: Map<string, Channel.Channel>
  /** What is retained for the other users. Last is the one that has got something last. */
  readonly unattended: Map<string, History.History>
  /** Of how many other users something is retained at most. */
  readonly limit: number
  readonly histories: History.Histories
  rule: Rule
  /** The position of the last message that was forgotten of any user. */
  floor: number
}

/** None yet. Nothing is retained of what was sent up to `floor`. */
export const make = (options: Omit<Inboxes, "attended" | "unattended">): Inboxes => ({
  ...options,
  attended: new Map(),
  unattended: new Map()
})

/** Whether a channel is an inbox. */
export const isInbox = (channel: Channel.Channel): boolean => channel.name === name

/** The inbox of a user. One without subscribers is not known before `attend`. */
export const get = (inboxes: Inboxes, uid: string): Channel.Channel =>
  inboxes.attended.get(uid) ?? Channel.make({
    name,
    kind: "normal",
    rule: inboxes.rule,
    history: historyOf(inboxes, uid),
    isOnDemand: false
  })

/** Adds its position to a message that was sent on a channel. */
export const writeOf = (channel: Channel.Channel): typeof BrokerMessage.positioned =>
  isInbox(channel) ? BrokerMessage.toUser : BrokerMessage.positioned

/** The inbox has its first subscriber. */
export const attend = ({ attended, unattended }: Inboxes, uid: string, inbox: Channel.Channel): void => {
  attended.set(uid, inbox)
  unattended.delete(uid)
}

/** The last subscriber of an inbox has left. */
export const leave = (inboxes: Inboxes, uid: string, { history }: Channel.Channel): void => {
  inboxes.attended.delete(uid)
  // Without a trace of a message the next one begins where this one is.
  if (history !== undefined && (!History.isEmpty(history) || history.floor > inboxes.floor)) {
    retain(inboxes, uid, history)
  }
}

/** Retains a message to a user, if inboxes have a history. */
export const append = (
  inboxes: Inboxes,
  uid: string,
  entry: Pick<History.Entry, "position" | "message">
): void => {
  const inbox = inboxes.attended.get(uid)
  const history = inbox === undefined ? historyOf(inboxes, uid) : inbox.history
  if (history === undefined) return
  History.append(inboxes.histories, history, { ...entry, exceptSid: undefined })
  if (inbox === undefined) retain(inboxes, uid, history)
}

/** Inboxes have another rule now. Without a history before or after it, nothing up to this position is retained. */
export const setRule = (inboxes: Inboxes, rule: Rule, position: number): void => {
  const { attended, histories, unattended } = inboxes
  const isKept = inboxes.rule.history !== undefined && rule.history !== undefined
  inboxes.rule = rule
  for (const inbox of attended.values()) inbox.rule = rule
  if (isKept) return
  inboxes.floor = position
  for (const history of unattended.values()) History.close(histories, history)
  unattended.clear()
  for (const [uid, inbox] of attended) {
    if (inbox.history !== undefined) History.close(histories, inbox.history)
    inbox.history = historyOf(inboxes, uid)
  }
}

/** The limits of all that is retained. */
export const limits = function*(
  { attended, rule, unattended }: Inboxes
): Iterable<readonly [History.History, History.ChannelLimits]> {
  if (rule.history === undefined) return
  for (const history of unattended.values()) yield [history, rule.history]
  for (const { history } of attended.values()) if (history !== undefined) yield [history, rule.history]
}

const historyOf = ({ floor, rule, unattended }: Inboxes, uid: string): History.History | undefined =>
  rule.history && (unattended.get(uid) ?? History.open(rule.history, 0, floor))

const retain = (inboxes: Inboxes, uid: string, history: History.History): void => {
  const { histories, limit, unattended } = inboxes
  unattended.delete(uid)
  unattended.set(uid, history)
  for (const [oldest, history] of unattended) {
    if (unattended.size <= limit) return
    unattended.delete(oldest)
    History.close(histories, history)
    inboxes.floor = Math.max(inboxes.floor, history.floor)
  }
}
