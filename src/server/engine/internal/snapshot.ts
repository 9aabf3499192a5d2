/**
 * The state of a replica as texts, from which another node begins, see `snapshotReader.ts`.
 *
 * What it consists of is collected in one step, at one position; the texts are written afterwards, one record after the other,
 * so that nobody waits for them. Records have a letter and fields, see `fields.ts`.
 */

import type { Browser, Subscription } from "../../domain/Browser.ts"
import type * as Channel from "./channel.ts"
import * as Fields from "./fields.ts"
import type * as History from "./history.ts"
import * as Operations from "./operations.ts"
import { RemoteBrowser } from "./remoteBrowser.ts"
import type { Replica } from "./replica.ts"
import * as RulesText from "./rulesText.ts"
import type { VhostState } from "./vhostState.ts"

const { flag, number, text } = Fields

/** Collects a snapshot, and returns its records, which are written one by one. The replica may change meanwhile. */
export const records = (replica: Replica): Iterable<string> => {
  const { self, state } = replica
  const { browsers, ordered, subscriptions } = state
  const head = headOf(replica)
  const departed = [...state.departed.beginnings.entries]
  const all = [...browsers.all()]
  const users = [...browsers.users()]
  const channels = ordered.entries.flatMap(({ cursor, value }) =>
    value === undefined ? [] : [{ cursor, ...contentOf(value) }]
  )
  const inboxes = inboxesOf(state)
  const orders = Array.from(subscriptions, ([{ sid }, { channels }]) => [sid, [...channels]] as const)
  const pending = [...replica.pending]
  return (function*() {
    yield head
    for (const [name, { floor, opened }] of departed) yield `D${text(name)}${number(opened)}${number(floor)}`
    for (const browser of all) yield writeBrowser(browser, self)
    for (const [{ sid }, { info, uid }] of users) yield `U${text(sid)}${text(uid)}${text(info?.text)}`
    for (const { channel, cursor, ...content } of channels) {
      yield `C${text(channel.name)}${text(content.kind)}${number(cursor)}${flag(content.isOnDemand)}${
        writeHistory(content.history)
      }`
      yield* writeContent(content)
    }
    for (const [uid, { history, ...content }] of inboxes) {
      yield `I${text(uid)}${writeHistory(history)}`
      yield* writeContent(content)
    }
    for (const [sid, channels] of orders) {
      if (channels.length > 1) yield `O${text(sid)}${Fields.all(channels, ({ name }) => text(name))}`
    }
    for (const event of pending) yield `L${number(event.number)}${text(JSON.stringify(event.event))}`
  })()
}

const headOf = ({ lifecycle, nodes, state, time }: Replica): string =>
  `V${number(state.head)}${number(time)}${number(lifecycle)}${Fields.all(nodes, text)}` +
  Operations.writeLimits(state.limits) + RulesText.write(state.rules) +
  number(state.departed.floor) + number(state.departed.highest) + number(state.inboxes.floor)

/** What is collected of a channel or an inbox. */
interface Content {
  readonly subscriptions: ReadonlyArray<readonly [cursor: number, Subscription]>
  readonly graces: ReadonlyArray<readonly [until: number, cursor: number | undefined, Subscription | undefined]>
  readonly entries: ReadonlyArray<History.Entry>
}

// All of it may be another a moment later, but for what does not change: subscriptions and broadcasts.
const contentOf = (channel: Channel.Channel) => ({
  channel,
  kind: channel.kind,
  isOnDemand: channel.isOnDemand,
  history: beginningOf(channel.history),
  entries: entriesOf(channel.history),
  subscriptions: Array.from(channel.subscriptions.values(), ({ cursor, value }) => [cursor, value!] as const),
  graces: [...channel.graces?.values() ?? []].flatMap((theirs) =>
    theirs.map(({ item: { member, until } }) => [until, member?.cursor, member?.value] as const)
  )
})

const beginningOf = (history: History.History | undefined) =>
  history && { opened: history.opened, floor: history.floor }

const entriesOf = (history: History.History | undefined): ReadonlyArray<History.Entry> =>
  history === undefined ? [] : history.entries.slice(history.first) as Array<History.Entry>

// Those without subscribers first, in their order: a restored inbox has no subscribers until it gets its first one.
const inboxesOf = ({ inboxes: { attended, unattended } }: VhostState) => [
  ...Array.from(attended, ([uid, inbox]) => [uid, contentOf(inbox)] as const),
  ...Array.from(
    unattended.entries,
    ([uid, history]) =>
      [uid, { history: beginningOf(history), entries: entriesOf(history), subscriptions: [], graces: [] }] as const
  )
]

const writeBrowser = (browser: Browser, self: string): string =>
  `B${text(browser.sid)}${flag(browser.version === 1)}${text(browser instanceof RemoteBrowser ? browser.node : self)}`

const writeHistory = (history: ReturnType<typeof beginningOf>): string =>
  history === undefined ? Fields.absent : number(history.opened) + number(history.floor)

const writeContent = function*({ entries, graces, subscriptions }: Content): Iterable<string> {
  for (const [cursor, subscription] of subscriptions) yield `S${number(cursor)}${writeSubscription(subscription)}`
  for (const [until, cursor, subscription] of graces) {
    yield `G${number(until)}${number(cursor)}${
      subscription === undefined ? "" : flag(subscription.browser.version === 1) + writeSubscription(subscription)
    }`
  }
  for (const { at, exceptSid, message, position } of entries) {
    yield `H${number(position)}${number(at)}${text(exceptSid)}${text(message)}`
  }
}

const writeSubscription = ({ browser, byBackend, data, hidden, info, member, uid }: Subscription): string =>
  text(browser.sid) + text(uid) + text(info?.text) + flag(hidden) + flag(byBackend) + text(data.text) +
  flag(member !== undefined)
