/**
 * The state of a replica as texts, from which another node begins, see `snapshotReader.ts`.
 *
 * What it consists of is collected at one position, in steps between which other work is done and nothing is applied. The texts are
 * written afterwards, one record after the other, while the replica goes on. Records have a letter and fields, see `fields.ts`.
 */

import type { Browser, Subscription } from "../../domain/Browser.ts"
import type { Permission } from "../../domain/Permission.ts"
import type { NumberedEvent } from "../SharedLog.ts"
import type * as Channel from "./channel.ts"
import * as Fields from "./fields.ts"
import type * as History from "./history.ts"
import * as Operations from "./operations.ts"
import { RemoteBrowser } from "./remoteBrowser.ts"
import type { Replica } from "./replica.ts"
import * as Retained from "./retained.ts"
import * as RulesText from "./rulesText.ts"
import type { Steps } from "./steps.ts"
import type { VhostState } from "./vhostState.ts"

const { flag, number, text } = Fields

/**
 * Collects a snapshot, in steps between which the replica must not change. Returns its records, which are written one by one; the
 * replica may change then.
 */
export const collect = function*(replica: Replica): Steps<Iterable<string>> {
  const { pending, self, state: { browsers, departed, inboxes, ordered, subscriptions } } = replica
  return write({
    self,
    head: headOf(replica),
    departed: yield* copy(departed.beginnings.entries, identity),
    browsers: yield* copy(browsers.all(), identity),
    users: yield* copy(browsers.users(), identity),
    channels: yield* channelsOf(ordered.entries),
    attended: yield* attendedOf(inboxes.attended),
    unattended: yield* copy(inboxes.unattended.entries, ([uid, history]) => ({ uid, ...historyOf(history) })),
    orders: yield* ordersOf(subscriptions),
    pending: yield* copy(pending, identity)
  })
}

/** How many items are collected in a step. */
const step = 500

const copy = function*<A, B>(items: Iterable<A>, use: (item: A) => B): Steps<ReadonlyArray<B>> {
  const copies: Array<B> = []
  for (const item of items) if (copies.push(use(item)) % step === 0) yield
  return copies
}

const identity = <A>(item: A): A => item

const headOf = ({ lifecycle, nodes, state, time }: Replica): string =>
  `V${number(state.head)}${number(time)}${number(lifecycle)}${Fields.all(nodes, nodeOf)}` +
  Operations.writeLimits(state.limits) + RulesText.write(state.rules) +
  number(state.departed.floor) + number(state.departed.highest) + number(state.inboxes.floor)

const nodeOf = ([node, last]: readonly [string, number]): string => text(node) + number(last)

const channelsOf = function*(ordered: VhostState["ordered"]["entries"]) {
  const channels: Array<{ readonly cursor: number; readonly isOnDemand: boolean } & Content> = []
  for (const { cursor, value } of ordered) {
    if (value === undefined) continue
    channels.push({ cursor, isOnDemand: value.isOnDemand, ...yield* contentOf(value) })
    if (channels.length % step === 0) yield
  }
  return channels
}

const attendedOf = function*(attended: VhostState["inboxes"]["attended"]) {
  const inboxes: Array<{ readonly uid: string } & Content> = []
  for (const [uid, inbox] of attended) {
    inboxes.push({ uid, ...yield* contentOf(inbox) })
    if (inboxes.length % step === 0) yield
  }
  return inboxes
}

// In which order browsers have subscribed, if that is not clear.
const ordersOf = function*(subscriptions: VhostState["subscriptions"]) {
  const orders: Array<readonly [sid: string, ReadonlyArray<Channel.Channel>]> = []
  let seen = 0
  for (const [{ sid }, channels] of subscriptions.channels) {
    if (channels.length > 1) orders.push([sid, [...channels]])
    if (++seen % step === 0) yield
  }
  return orders
}

/** What is collected of a history. */
interface HistoryContent {
  readonly beginning: Pick<History.History, "opened" | "floor"> | undefined
  readonly retained: Retained.Retained
}

/** What is collected of a channel or an inbox. */
interface Content extends HistoryContent {
  readonly channel: Channel.Channel
  readonly subscriptions: ReadonlyArray<readonly [cursor: number, Subscription]>
  readonly graces: ReadonlyArray<readonly [until: number, cursor: number | undefined, Subscription | undefined]>
}

// All of it may be another a moment later, but for what does not change: names, subscriptions and broadcasts.
const contentOf = function*(channel: Channel.Channel): Steps<Content> {
  const { graces, history, subscriptions } = channel
  return {
    channel,
    ...historyOf(history),
    subscriptions: yield* copy(subscriptions.entries(), ({ cursor, value }) => [cursor, value!] as const),
    graces: (yield* copy(
      graces?.values() ?? [],
      (theirs) => theirs.map(({ item: { member, until } }) => [until, member?.cursor, member?.value] as const)
    )).flat()
  }
}

const historyOf = (history: History.History | undefined): HistoryContent =>
  history === undefined ? { beginning: undefined, retained: Retained.make() } : {
    beginning: { opened: history.opened, floor: history.floor },
    retained: Retained.copy(history.retained)
  }

/** What is collected of a replica. */
interface Collected {
  readonly self: string
  readonly head: string
  readonly departed: ReadonlyArray<readonly [name: string, { readonly floor: number; readonly opened: number }]>
  readonly browsers: ReadonlyArray<Browser>
  readonly users: ReadonlyArray<readonly [Browser, Pick<Permission, "uid" | "info">]>
  readonly channels: ReadonlyArray<{ readonly cursor: number; readonly isOnDemand: boolean } & Content>
  readonly attended: ReadonlyArray<{ readonly uid: string } & Content>
  readonly unattended: ReadonlyArray<{ readonly uid: string } & HistoryContent>
  readonly orders: ReadonlyArray<readonly [sid: string, ReadonlyArray<Channel.Channel>]>
  readonly pending: ReadonlyArray<NumberedEvent>
}

// Inboxes with subscribers come first, in their order: a restored inbox has no subscribers until it gets its first one.
const write = function*(
  { attended, browsers, channels, departed, head, orders, pending, self, unattended, users }: Collected
): Iterable<string> {
  yield head
  for (const [name, { floor, opened }] of departed) yield `D${text(name)}${number(opened)}${number(floor)}`
  for (const browser of browsers) yield writeBrowser(browser, self)
  for (const [{ sid }, { info, uid }] of users) yield `U${text(sid)}${text(uid)}${text(info?.text)}`
  for (const { cursor, isOnDemand, ...content } of channels) {
    const { kind, name } = content.channel
    yield `C${text(name)}${text(kind)}${number(cursor)}${flag(isOnDemand)}${writeBeginning(content)}`
    yield* writeSubscriptions(content)
    yield* writeEntries(content)
  }
  for (const { uid, ...content } of attended) {
    yield `I${text(uid)}${writeBeginning(content)}`
    yield* writeSubscriptions(content)
    yield* writeEntries(content)
  }
  for (const { uid, ...content } of unattended) {
    yield `I${text(uid)}${writeBeginning(content)}`
    yield* writeEntries(content)
  }
  for (const [sid, channels] of orders) yield `O${text(sid)}${Fields.all(channels, ({ name }) => text(name))}`
  for (const event of pending) yield `L${number(event.number)}${text(JSON.stringify(event.event))}`
}

const writeBrowser = (browser: Browser, self: string): string =>
  `B${text(browser.sid)}${flag(browser.version === 1)}${text(browser instanceof RemoteBrowser ? browser.node : self)}`

const writeBeginning = ({ beginning }: HistoryContent): string =>
  beginning === undefined ? Fields.absent : number(beginning.opened) + number(beginning.floor)

const writeSubscriptions = function*({ graces, subscriptions }: Content): Iterable<string> {
  for (const [cursor, subscription] of subscriptions) yield `S${number(cursor)}${writeSubscription(subscription)}`
  for (const [until, cursor, subscription] of graces) {
    yield `G${number(until)}${number(cursor)}${
      subscription === undefined ? "" : flag(subscription.browser.version === 1) + writeSubscription(subscription)
    }`
  }
}

const writeEntries = function*({ retained }: HistoryContent): Iterable<string> {
  for (let nth = 0; nth < retained.count; nth++) {
    const { at, exceptSid, message, position } = Retained.entryOf(retained, nth)
    yield `H${number(position)}${number(at)}${text(exceptSid)}${text(message)}`
  }
}

const writeSubscription = ({ browser, byBackend, data, hidden, info, member, uid }: Subscription): string =>
  text(browser.sid) + text(uid) + text(info?.text) + flag(hidden) + flag(byBackend) + text(data.text) +
  flag(member !== undefined)
