/**
 * A replica from the texts of a snapshot, see `snapshot.ts`: equal to the one that was written, so that the entries that follow make the
 * same of both. It is read in steps; until the last one the replica is incomplete, and its offset that of before.
 */

import { constVoid } from "effect/Function"
import type * as ChannelName from "../../../protocol/ChannelName.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Browser, Subscription } from "../../domain/Browser.ts"
import type { LogStart } from "../SharedLog.ts"
import * as Channel from "./channel.ts"
import * as Fields from "./fields.ts"
import * as Graces from "./graces.ts"
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import * as Member from "./member.ts"
import * as Operations from "./operations.ts"
import * as OrderedList from "./orderedList.ts"
import { ownText } from "./ownText.ts"
import { RemoteBrowser } from "./remoteBrowser.ts"
import type { Replica } from "./replica.ts"
import * as Rules from "./rules.ts"
import * as RulesText from "./rulesText.ts"
import type { Steps } from "./steps.ts"
import * as VhostState from "./vhostState.ts"

const { flagOf, numberOf, readNumber, readText, textOf } = Fields

/** What is read so far. */
interface Reading {
  readonly replica: Replica
  /** The channel or inbox that the next records are about. */
  channel: Channel.Channel | undefined
  history: History.History | undefined
  readonly nodes: Map<string, string>
  /** The members and other visible subscribers, by their channels. */
  readonly visible: Map<Channel.Channel, Array<OrderedList.Entry<Subscription>>>
  readonly entries: Array<readonly [History.History, History.Broadcast, at: number]>
}

const nodeOf = (reader: Fields.Reader): readonly [node: string, last: number] => [textOf(reader), numberOf(reader)]

/** How many records, members or broadcasts are read in a step. */
const step = 200

/**
 * Restores a replica that has applied nothing. A snapshot without texts leaves it as it is. Returns `false` if it cannot be read: then
 * the replica is of no use.
 */
export const restore = function*(replica: Replica, { offset, parts }: LogStart): Steps<boolean> {
  const reading: Reading = {
    replica,
    channel: undefined,
    history: undefined,
    nodes: new Map(),
    visible: new Map(),
    entries: []
  }
  let count = 0
  for (const part of parts) {
    const reader = Fields.reader(part)
    while (!Fields.isAtEnd(reader)) {
      const letter = reader.text[reader.at++] ?? ""
      // A record of a kind that is unknown: where it ends is unknown, too.
      if (!Object.hasOwn(records, letter)) return false
      records[letter]!(reading, reader)
      if (Fields.isBroken(reader)) return false
      if (letter === "V") yield* setRules(replica.state)
      if (++count % step === 0) yield
    }
  }
  yield* finish(reading)
  replica.offset = offset
  return true
}

const setRules = function*({ inboxes, rules }: VhostState.VhostState): Steps<void> {
  yield* Rules.prepare(rules, [])
  inboxes.rule = Rules.ruleOf(rules, Inboxes.name)
}

const records: { readonly [letter: string]: (reading: Reading, reader: Fields.Reader) => void } = {
  V: ({ replica }, reader) => {
    const { state } = replica
    state.head = numberOf(reader)
    replica.time = numberOf(reader)
    replica.lifecycle = numberOf(reader)
    for (const [node, last] of Fields.allOf(reader, nodeOf)) replica.nodes.set(ownText(node), last)
    VhostState.setLimits(state, Operations.readLimits(reader))
    state.rules = RulesText.read(reader)
    state.departed.floor = numberOf(reader)
    state.departed.highest = numberOf(reader)
    state.inboxes.floor = numberOf(reader)
  },
  D: ({ replica: { state: { departed } } }, reader) =>
    departed.beginnings.set(ownText(textOf(reader)), { opened: numberOf(reader), floor: numberOf(reader) }),
  B: ({ nodes, replica: { state: { browsers } } }, reader) => {
    const sid = ownText(textOf(reader))
    const version = flagOf(reader) ? 1 : 0
    const read = textOf(reader)
    // The same text for all browsers of a node.
    const node = nodes.get(read) ?? ownText(read)
    nodes.set(node, node)
    browsers.add(new RemoteBrowser(sid, version, node))
  },
  U: ({ replica: { state: { browsers } } }, reader) => {
    const browser = browsers.get(textOf(reader))
    const uid = ownText(textOf(reader))
    const info = readObject(reader)
    if (browser !== undefined) browsers.identify(browser, uid, info)
  },
  C: readChannel,
  I: (reading, reader) => {
    const { inboxes } = reading.replica.state
    const uid = ownText(textOf(reader))
    const opened = readNumber(reader)
    if (opened !== undefined) {
      Inboxes.restore(inboxes, { name: Inboxes.storedName(uid), opened, floor: numberOf(reader) })
    }
    reading.channel = Inboxes.get(inboxes, uid)
    reading.history = reading.channel.history
  },
  S: (reading, reader) => {
    const { channel, replica: { state } } = reading
    const cursor = numberOf(reader)
    const { sid, ...subscription } = readSubscription(reader)
    const browser = state.browsers.get(sid)
    if (channel === undefined || browser === undefined) return
    const value = { browser, ...subscription }
    const entry = { cursor, value }
    VhostState.addSubscription(state, channel, value, entry)
    if (!value.hidden) show(reading, channel, entry)
  },
  G: (reading, reader) => {
    const { channel, replica: { state: { graces } } } = reading
    const until = numberOf(reader)
    const cursor = readNumber(reader)
    if (cursor === undefined) {
      if (channel !== undefined) Graces.begin(graces, channel, undefined, until)
      return
    }
    const version = flagOf(reader) ? 1 : 0
    const { sid, ...subscription } = readSubscription(reader)
    if (channel === undefined) return
    const browser: Browser = { sid, version, sendUnsafe: constVoid, closeUnsafe: constVoid }
    const entry = { cursor, value: { browser, ...subscription } }
    Graces.begin(graces, channel, entry, until)
    show(reading, channel, entry)
  },
  H: ({ entries, history }, reader) => {
    const position = numberOf(reader)
    const at = numberOf(reader)
    const exceptSid = readText(reader)
    const message = ownText(textOf(reader))
    if (history !== undefined) entries.push([history, { position, exceptSid, message }, at])
  },
  O: ({ replica: { state } }, reader) => {
    const browser = state.browsers.get(textOf(reader))
    const names = Fields.allOf(reader, textOf)
    const own = browser && state.subscriptions.channels.get(browser)
    if (own === undefined) return
    for (const name of names) {
      const index = own.findIndex((channel) => channel.name === name)
      // In this order from now on.
      if (index !== -1) own.push(...own.splice(index, 1))
    }
  },
  L: ({ replica: { pending } }, reader) => {
    const number = numberOf(reader)
    const event = textOf(reader)
    if (!Fields.isBroken(reader)) pending.push({ number, event: JSON.parse(event) as Event })
  }
}

function readChannel(reading: Reading, reader: Fields.Reader): void {
  const { replica: { state } } = reading
  const name = ownText(textOf(reader))
  const kind = textOf(reader) as ChannelName.Kind
  const cursor = numberOf(reader)
  const isOnDemand = flagOf(reader)
  const opened = readNumber(reader)
  const floor = opened === undefined ? undefined : numberOf(reader)
  const rule = Rules.ruleOf(state.rules, name)
  const channel = Channel.make({ name, kind, rule, isOnDemand })
  if (rule.history !== undefined) channel.history = History.open(channel, rule.history, opened ?? 0, floor)
  VhostState.putChannel(state, channel, cursor)
  reading.channel = channel
  reading.history = channel.history
}

const show = ({ visible }: Reading, channel: Channel.Channel, entry: OrderedList.Entry<Subscription>): void => {
  const entries = visible.get(channel)
  if (entries === undefined) visible.set(channel, [entry])
  else entries.push(entry)
}

const finish = function*({ entries, replica: { state }, visible }: Reading): Steps<void> {
  let count = 0
  for (const [channel, entries] of visible) {
    // The order of the list is that of the cursors, and not that of the subscriptions: some have the place of another one.
    for (const entry of entries.toSorted((one, other) => one.cursor - other.cursor)) {
      VhostState.addToList(channel, entry)
      if (++count % step === 0) yield
    }
  }
  for (const [history, broadcast, at] of entries.toSorted(([, one], [, other]) => one.position - other.position)) {
    History.add(state.histories, history, broadcast, at)
    if (++count % step === 0) yield
  }
  for (const { value: channel } of [...state.channels.values()]) {
    if (channel !== undefined) VhostState.closeIfUnused(state, channel)
    if (++count % step === 0) yield
  }
}

const readSubscription = (reader: Fields.Reader): Omit<Subscription, "browser"> & { readonly sid: string } => {
  const sid = ownText(textOf(reader))
  const uid = readText(reader)
  const own = uid === undefined ? undefined : ownText(uid)
  return {
    sid,
    uid: own,
    info: readObject(reader),
    hidden: flagOf(reader),
    byBackend: flagOf(reader),
    data: readObject(reader) ?? JsonText.empty,
    member: flagOf(reader) && own !== undefined ? Member.make(own) : undefined
  }
}

const readObject = (reader: Fields.Reader): JsonText.ObjectText | undefined => {
  const text = readText(reader)
  return text === undefined ? undefined : JsonText.copy(new JsonText.ObjectText(text))
}
