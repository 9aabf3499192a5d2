/**
 * The last broadcasts of channels with history, within the limits of a channel, of a vhost and of the broker.
 *
 * Beyond a limit of a channel or of its vhost their oldest broadcasts are dropped; beyond the limit of the broker those of the
 * vhost that retains most. A channel knows the position of its last dropped broadcast, so that it is always known whether
 * everything after a position is still there. What is older than the `age` of its channel is dropped before anything is
 * appended or read, and within about a second if nothing is.
 *
 * A recorder learns of each broadcast that is retained or dropped, so that a store can have the same.
 */

import { constVoid } from "effect/Function"
import { flatten, ownText } from "./ownText.ts"

/** The limits of one channel. */
export interface ChannelLimits {
  /** How many broadcasts it retains. */
  readonly count: number
  /** How many bytes its broadcasts take. */
  readonly size: number
  /** For how many milliseconds a broadcast is retained. */
  readonly age: number
}

/** The limits of a vhost. */
export interface Limits {
  /** How many bytes the broadcasts of all channels take. */
  readonly historyVhostSize: number
}

/** A broadcast that is retained. */
export interface Entry {
  readonly position: number
  /** The message to browsers, with its position. */
  readonly message: string
  readonly exceptSid: string | undefined
  /** Its bytes in memory, and at least two thirds of its bytes in an outbound queue. */
  readonly size: number
  /** When it was appended, on the clock of the vhost. */
  readonly at: number
  readonly history: History
  // Its neighbours among all broadcasts of its lane.
  older: Entry | undefined
  newer: Entry | undefined
}

/** The broadcasts of all channels of a vhost that retain them for the same time. */
interface Lane {
  readonly age: number
  oldest: Entry | undefined
  newest: Entry | undefined
}

/** What a history needs to know of its channel. */
export interface Owner {
  readonly name: string
  readonly isOnDemand: boolean
}

/** The history of one channel. */
export interface History {
  readonly channel: Owner
  limits: ChannelLimits
  /** That of its age, once it had a broadcast. */
  lane: Lane | undefined
  /** Called when its last broadcast was dropped. */
  onEmptied: (() => void) | undefined
  /** The position at which the channel was opened. */
  readonly opened: number
  /** The position of the last broadcast that was dropped, or that of the opening. */
  floor: number
  /** The broadcasts from `first` on, the oldest first. */
  entries: Array<Entry | undefined>
  first: number
  size: number
}

/** Learns of changes. */
export interface Recorder {
  readonly retained: (entry: Entry) => void
  /** The broadcast is the floor of its history now. */
  readonly dropped: (entry: Entry) => void
  /** The channel was opened on demand, and is closed. */
  readonly closed: (history: History) => void
}

/** The histories of one vhost. */
export interface Histories {
  limits: Limits
  readonly total: Total
  readonly recorder: Recorder | undefined
  readonly now: () => number
  /** By their ages, of which there are no more than rules. */
  readonly lanes: Map<number, Lane>
  size: number
  /** Called when `nextDue` may be earlier. */
  onDue: () => void
}

/** The broadcasts after a position, or the first ones of them, as browsers receive them. */
export interface Missed {
  readonly history: History
  readonly after: number
  /** The position of the last one that was retained then. */
  readonly head: number
  readonly messages: ReadonlyArray<string>
  /** The position of the last message. */
  readonly position: number
  /** Whether there are later ones. */
  readonly more: boolean
  /** Whether no browser is excepted from one of them. */
  readonly isForAll: boolean
}

/** The histories of all vhosts of a broker. */
export interface Total {
  readonly limit: number
  readonly vhosts: Set<Histories>
  size: number
  /** What the last browser that came back has missed, if it is the same for all. */
  lastMissed: Missed | undefined
}

/** What an entry takes beside its text, in memory and in an outbound queue. */
const overhead = 352

/** No history yet, of a broker that retains at most `limit` bytes. */
export const makeTotal = (limit: number): Total => ({ limit, vhosts: new Set(), size: 0, lastMissed: undefined })

/** No history yet, of a vhost. `now` are milliseconds of a clock that never goes back. */
export const make = (limits: Limits, total: Total, now: () => number, recorder?: Recorder): Histories => {
  const histories = { limits, total, now, recorder, lanes: new Map(), size: 0, onDue: constVoid }
  total.vhosts.add(histories)
  return histories
}

/** The vhost was removed: frees what it retains. */
export const release = (histories: Histories | undefined): void => {
  if (histories === undefined) return
  histories.total.lastMissed = undefined
  for (const lane of histories.lanes.values()) {
    while (lane.oldest !== undefined) drop(histories, lane.oldest.history)
  }
  histories.total.vhosts.delete(histories)
}

/**
 * The history of a channel that was opened at a position, with the position of the last dropped broadcast, if there was one.
 */
export const open = (channel: Owner, limits: ChannelLimits, opened: number, floor = opened): History => ({
  channel,
  limits,
  lane: undefined,
  onEmptied: undefined,
  opened,
  floor,
  entries: [],
  first: 0,
  size: 0
})

/** The channel is closed: drops its broadcasts. */
export const close = (histories: Histories, history: History): void => {
  history.onEmptied = undefined
  while (history.first < history.entries.length) drop(histories, history)
}

/** What is known of a broadcast when it is appended. Its message is not cut out of another text. */
export type Broadcast = Pick<Entry, "position" | "message" | "exceptSid">

/**
 * Appends a broadcast, and drops what is beyond a limit. One that is larger than a limit is not retained. `onEmptied` is not called,
 * and not set afterwards.
 */
export const append = (histories: Histories, history: History, broadcast: Broadcast): void => {
  // If all earlier ones are too old, that must not close the channel which this one is for.
  history.onEmptied = undefined
  const now = histories.now()
  expire(histories, now)
  const entry = add(histories, history, broadcast, now)
  histories.recorder?.retained(entry)
  dropExcess(histories, history)
}

/** Appends a broadcast of earlier, which is recorded already. `at` is no earlier than that of the one before. */
export const restore = (histories: Histories, history: History, broadcast: Broadcast, at: number): void => {
  add(histories, history, broadcast, at)
  dropExcess(histories, history)
}

/** Adds a broadcast of earlier, and drops nothing. */
export const add = (
  histories: Histories,
  history: History,
  { exceptSid, message, position }: Broadcast,
  at: number
): Entry => {
  const { total } = histories
  const size = overhead + 2 * (message.length + (exceptSid?.length ?? 0))
  const entry: Entry = {
    position,
    message: flatten(message),
    exceptSid: exceptSid && ownText(exceptSid),
    size,
    at,
    history,
    older: undefined,
    newer: undefined
  }
  const lane = history.lane ??= laneOf(histories, history.limits.age)
  link(lane, entry)
  history.entries.push(entry)
  history.size += size
  histories.size += size
  total.size += size
  if (lane.oldest === entry) histories.onDue()
  return entry
}

const dropExcess = (histories: Histories, history: History): void => {
  const { limits, total } = histories
  trim(histories, history)
  while (histories.size > limits.historyVhostSize) dropOldest(histories)
  while (total.size > total.limit) dropOfLargest(total)
}

/** Drops what is too old, at most so many broadcasts, and returns how many. */
export const expire = (histories: Histories, now = histories.now(), most = Infinity): number => {
  let dropped = 0
  if (histories.size === 0) return dropped
  for (const lane of histories.lanes.values()) {
    const before = now - lane.age
    for (; lane.oldest !== undefined && lane.oldest.at < before && dropped < most; dropped++) {
      drop(histories, lane.oldest.history)
    }
  }
  return dropped
}

/** When something is too old, on the clock of the vhost; `undefined` if nothing is retained. */
export const nextDue = ({ lanes }: Histories): number | undefined => {
  let next = Infinity
  for (const { age, oldest } of lanes.values()) if (oldest !== undefined) next = Math.min(next, oldest.at + age)
  // At most once a second, and surely after it.
  return next === Infinity ? undefined : Math.ceil(next / 1000) * 1000 + 1
}

/** The channels of a vhost have these limits now, all that have a history: what is beyond them is dropped. */
export const limit = (histories: Histories, limits: ReadonlyMap<History, ChannelLimits>): void => {
  const entries: Array<Entry> = []
  for (let entry = oldestOf(histories); entry !== undefined; entry = oldestOf(histories)) {
    unlink(entry.history.lane!, entry)
    entries.push(entry)
  }
  histories.lanes.clear()
  for (const [history, own] of limits) {
    history.limits = own
    history.lane = undefined
  }
  for (const entry of entries) link(entry.history.lane ??= laneOf(histories, entry.history.limits.age), entry)
  expire(histories)
  for (const history of limits.keys()) trim(histories, history)
}

/** Whether nothing is retained. */
export const isEmpty = ({ entries, first }: History): boolean => first === entries.length

/** The position of the last broadcast, or that of the floor. */
export const headOf = ({ entries, floor }: History): number => entries.at(-1)?.position ?? floor

/** Visits the broadcasts after a position, the oldest first, until a visit returns `false`. */
export const visitAfter = (history: History, position: number, visit: (entry: Entry) => boolean): void => {
  for (let index = firstAfter(history, position); index < history.entries.length; index++) {
    if (!visit(history.entries[index]!)) return
  }
}

/** The position after which there are at most `count` broadcasts. */
export const positionBefore = (history: History, count: number): number => {
  const { entries, first, floor } = history
  if (count === 0) return headOf(history)
  const index = entries.length - count - 1
  return index < first ? floor : entries[index]!.position
}

const firstAfter = ({ entries, first }: History, position: number): number => {
  let low = first
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.position > position) high = middle
    else low = middle + 1
  }
  return low
}

const laneOf = ({ lanes }: Histories, age: number): Lane => {
  const known = lanes.get(age)
  if (known !== undefined) return known
  const lane = { age, oldest: undefined, newest: undefined }
  lanes.set(age, lane)
  return lane
}

const link = (lane: Lane, entry: Entry): void => {
  entry.older = lane.newest
  entry.newer = undefined
  if (lane.newest === undefined) lane.oldest = entry
  else lane.newest.newer = entry
  lane.newest = entry
}

const unlink = (lane: Lane, entry: Entry): void => {
  const { newer, older } = entry
  if (older === undefined) lane.oldest = newer
  else older.newer = newer
  if (newer === undefined) lane.newest = older
  else newer.older = older
  // Otherwise one that was dropped after it grew old would keep all later ones until the next full garbage collection.
  entry.older = entry.newer = undefined
}

const oldestOf = ({ lanes }: Histories): Entry | undefined => {
  let found: Entry | undefined
  for (const { oldest } of lanes.values()) {
    if (oldest !== undefined && (found === undefined || oldest.position < found.position)) found = oldest
  }
  return found
}

const dropOldest = (histories: Histories): void => {
  const oldest = oldestOf(histories)
  if (oldest !== undefined) drop(histories, oldest.history)
}

// Within the limits of the channel.
const trim = (histories: Histories, history: History): void => {
  const { limits } = history
  while (history.entries.length - history.first > limits.count || history.size > limits.size) drop(histories, history)
}

// The oldest broadcast of a channel.
const drop = (histories: Histories, history: History): void => {
  const entry = history.entries[history.first]!
  history.entries[history.first] = undefined
  unlink(history.lane!, entry)
  history.floor = entry.position
  history.size -= entry.size
  histories.size -= entry.size
  histories.total.size -= entry.size
  history.first++
  // A copy for every so many, not for each.
  if (history.first * 2 >= history.entries.length) {
    history.entries = history.entries.slice(history.first)
    history.first = 0
  }
  histories.recorder?.dropped(entry)
  if (history.entries.length === 0) history.onEmptied?.()
}

const dropOfLargest = ({ vhosts }: Total): void => {
  let largest: Histories | undefined
  for (const histories of vhosts) if (histories.size > (largest?.size ?? 0)) largest = histories
  if (largest !== undefined) dropOldest(largest)
}
