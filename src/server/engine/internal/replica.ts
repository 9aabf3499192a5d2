/**
 * What a node makes of the entries of the log that it shares with others: the state of the vhost.
 *
 * It follows from the entries and their order alone, so that all nodes have the same after the same entries. Nothing here knows a
 * clock: the time is that of the entry. Only deliveries differ, since each node delivers to its own browsers, and the others are
 * `RemoteBrowser`s.
 *
 * Each operation is one step, and each channel that a browser leaves with its connection, and each pattern of rules that is compiled or
 * matched before they are set. Whoever runs it may pause between steps.
 */

import * as Exit from "effect/Exit"
import * as JsonText from "../../../protocol/JsonText.ts"
import { BadRequestError, InternalError, type StatusError } from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Browser } from "../../domain/Browser.ts"
import type { Change, Intent } from "../Log.ts"
import type { LogEntry, NumberedEvent } from "../SharedLog.ts"
import * as BrowserSubscriptions from "./browserSubscriptions.ts"
import * as Changes from "./changes.ts"
import { decide } from "./decisions.ts"
import * as Fields from "./fields.ts"
import * as History from "./history.ts"
import * as Operations from "./operations.ts"
import { ownText } from "./ownText.ts"
import { RemoteBrowser } from "./remoteBrowser.ts"
import * as Rules from "./rules.ts"
import * as VhostState from "./vhostState.ts"

/** The state of a vhost at an entry of its log. */
export interface Replica {
  /** The incarnation of this node. */
  readonly self: string
  /** The browsers that are connected to this node, from before they enter until they have left. */
  readonly own: Map<string, Browser>
  readonly state: VhostState.VhostState
  /** The nodes that have entered and whose lease has not ended, each with the number of its last entry. */
  readonly nodes: Map<string, number>
  /** The offset of the last entry, and its time. */
  offset: number
  time: number
  /** How many lifecycle events there were. */
  lifecycle: number
  /** Those that may not be emitted yet, in their order. */
  pending: Array<NumberedEvent>
}

/** What has become of an operation: `true` if something has changed. */
export type Outcome = Exit.Exit<boolean, StatusError>

/** Makes a replica that has applied nothing. Its state has no limits but those of `limits` until a node enters. */
export const make = (
  self: string,
  own: Map<string, Browser>,
  options: StateOptions
): Replica => {
  const replica: Replica = {
    self,
    own,
    state: emptyState(options, () => replica.time),
    nodes: new Map(),
    offset: 0,
    time: 0,
    lifecycle: 0,
    pending: []
  }
  return replica
}

/** Makes it one that has applied nothing. The state stays the same object. */
export const reset = (replica: Replica, options: StateOptions): void => {
  Object.assign(replica.state, emptyState(options, () => replica.time))
  replica.nodes.clear()
  replica.offset = replica.time = replica.lifecycle = 0
  replica.pending = []
}

type StateOptions = Omit<VhostState.Options, "now" | "history">

// What is dropped must follow from this log alone, and not from what other vhosts retain.
const emptyState = (options: StateOptions, now: () => number): VhostState.VhostState =>
  VhostState.make({ ...options, now, history: History.makeTotal(Infinity) })

/** The node that does what one of all has to do: of those that are there, the one with the smallest incarnation. */
export const leaderOf = ({ nodes }: Replica): string | undefined => {
  let leader: string | undefined
  for (const node of nodes.keys()) if (leader === undefined || node < leader) leader = node
  return leader
}

/** Writes an entry with its number, by which its node knows it again, and all nodes one that is there twice. The next one has a larger number. */
export const entryOf = (number: number, operations: ReadonlyArray<string>): string =>
  Fields.number(number) + operations.join("")

/**
 * Applies an entry, the next one, in steps. `onOutcome` gets what has become of each operation of this node, with the number of
 * the entry. Yields `true` where a step may have taken long. Returns `false` if the entry cannot be read: then this replica is of no use
 * any more.
 */
export const apply = function*(
  replica: Replica,
  { entry, node, offset, time }: LogEntry,
  onOutcome: OnOutcome
): Generator<void | true, boolean> {
  replica.time = Math.max(replica.time, time)
  History.expire(replica.state.histories)
  const isRead = entry === undefined ? yield* endNode(replica, node) : yield* operate(replica, node, entry, onOutcome)
  // Only now: whoever waits for it finds all that it has changed.
  if (isRead) replica.offset = offset
  return isRead
}

type OnOutcome = (number: number, index: number, outcome: Outcome) => void

const endNode = function*(replica: Replica, node: string): Generator<void, boolean> {
  replica.nodes.delete(node)
  yield* endBrowsers(replica, node)
  return true
}

const operate = function*(
  replica: Replica,
  node: string,
  entry: string,
  onOutcome: OnOutcome
): Generator<void | true, boolean> {
  const { self, state } = replica
  const reader = Fields.reader(entry)
  const number = Fields.numberOf(reader)
  // Whoever has appended it did not know that it had, and did so again.
  const isRepeated = number <= (replica.nodes.get(node) ?? 0)
  const { broadcasts } = state.counters
  const browserOf = (sid: string) => state.browsers.get(sid) ?? new RemoteBrowser(sid, 1, "")
  for (let index = 0; !Fields.isAtEnd(reader); index++) {
    const operation = Operations.read(reader, browserOf)
    if (operation === undefined || Fields.isBroken(reader)) return false
    if (operation._tag === "EnterNode") yield* enterNode(replica, node, operation)
    else if (isRepeated) continue
    else if (operation._tag === "SetRules") yield* prepare(replica, operation.rules)
    const outcome = !replica.nodes.has(node)
      ? ended
      : operation._tag === "LeaveBrowser"
      ? yield* leave(replica, operation.browser, operation.mayReturn)
      : perform(replica, node, operation)
    if (operation._tag === "SetRules") operation.rules.learned.clear()
    if (node === self) onOutcome(number, index, outcome)
    yield
  }
  if (replica.nodes.has(node)) replica.nodes.set(node, number)
  // Each is counted at the node that it came from.
  if (node !== self) state.counters.broadcasts = broadcasts
  return !Fields.isBroken(reader)
}

const enterNode = function*(
  replica: Replica,
  node: string,
  { limits }: Operations.Others["EnterNode"]
): Generator<void, void> {
  yield* endBrowsers(replica, node)
  replica.nodes.set(ownText(node), 0)
  VhostState.setLimits(replica.state, limits)
}

const prepare = function*({ state: { channels } }: Replica, rules: Rules.Rules): Generator<true, void> {
  for (const _ of Rules.prepare(rules, channels.keys())) yield true
}

// In one step.
const perform = (
  replica: Replica,
  node: string,
  operation: Exclude<Operations.Operation, { readonly _tag: "LeaveBrowser" }>
): Outcome => {
  switch (operation._tag) {
    case "EnterNode":
      return changed
    case "EnterBrowser":
      return enter(replica, node, operation)
    case "Identify":
      return identify(replica, operation)
    case "Tick":
      return unchanged
    case "Join":
      // It may have left before this had a place.
      return replica.state.browsers.get(operation.browser.sid) === undefined ? gone : commit(replica, operation)
  }
  return commit(replica, operation)
}

const commit = (replica: Replica, intent: Intent): Outcome => {
  const { state } = replica
  const decision = decide(state, intent)
  if (decision._tag === "Rejected") return Exit.fail(decision.error)
  if (decision._tag === "Unchanged") return unchanged
  lifecycleOf(decision).forEach((event) => emit(replica, event))
  Changes.apply(state, decision, state.head + 1)
  return changed
}

const lifecycleOf = (change: Change): ReadonlyArray<Event> => {
  switch (change._tag) {
    case "ChannelClosed":
    case "Joined":
    case "Left":
    case "GraceEnded":
      return change.lifecycle
  }
  return none
}

const none: ReadonlyArray<Event> = []

const emit = (replica: Replica, event: Event): void => void replica.pending.push({ number: ++replica.lifecycle, event })

const enter = (
  replica: Replica,
  node: string,
  { sid: read, version }: Operations.Others["EnterBrowser"]
): Outcome => {
  const { own, self, state: { browsers } } = replica
  if (browsers.get(read) !== undefined) return unchanged
  const sid = ownText(read)
  browsers.add((node === self ? own.get(sid) : undefined) ?? new RemoteBrowser(sid, version, nodeOf(replica, node)))
  emit(replica, Lifecycle.browserConnected(sid))
  return changed
}

// The same text for all browsers of a node.
const nodeOf = ({ nodes }: Replica, name: string): string => {
  for (const node of nodes.keys()) if (node === name) return node
  return name
}

const identify = ({ state: { browsers } }: Replica, { browser, info, uid }: Operations.Others["Identify"]): Outcome => {
  if (uid === undefined) browsers.forgetUser(browser)
  else browsers.identify(browser, ownText(uid), info && JsonText.copy(info))
  return changed
}

// Its connection is lost, or its node.
const leave = function*(replica: Replica, browser: Browser, mayReturn: boolean): Generator<void, Outcome> {
  const { own, state: { browsers, subscriptions } } = replica
  for (const { name: channel } of [...BrowserSubscriptions.channelsOf(subscriptions, browser)]) {
    commit(replica, { _tag: "Leave", channel, browser, farewell: JsonText.empty, request: undefined, mayReturn })
    yield
  }
  const removed = browsers.remove(browser)
  own.delete(browser.sid)
  if (removed !== undefined) emit(replica, Lifecycle.browserDisconnected(browser.sid, removed.uid))
  return changed
}

const endBrowsers = function*(replica: Replica, node: string): Generator<void, void> {
  for (const browser of [...replica.state.browsers.all()]) {
    if (isOf(replica, browser, node)) yield* leave(replica, browser, true)
  }
}

/** Whether a browser is connected to a node. */
const isOf = ({ self }: Replica, browser: Browser, node: string): boolean =>
  browser instanceof RemoteBrowser ? browser.node === node : node === self

const changed: Outcome = Exit.succeed(true)
const unchanged: Outcome = Exit.succeed(false)
const ended: Outcome = Exit.fail(new InternalError({ detail: "this node is no longer one of the cluster" }))
const gone: Outcome = Exit.fail(new BadRequestError({ detail: "the browser has disconnected" }))
