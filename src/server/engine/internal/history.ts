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
import * as Heap from "./heap.ts"
import { flatten, ownText } from "./ownText.ts"
import * as Retained from "./retained.ts"

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

/** The channels of a vhost that retain broadcasts, all for the same time. */
interface Lane {
  readonly age: number
  /** By their ranks. */
  readonly histories: Heap.Heap<History>
  /** None of their broadcasts was appended earlier. */
  since: number
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
  /** Its place there, once it had a broadcast. */
  place: Heap.Entry<History> | undefined
  /** The position of its oldest broadcast when it got its place. If that was dropped meanwhile, it is moved only when it is the first. */
  rank: number
  /** Called when its last broadcast was dropped. */
  onEmptied: (() => void) | undefined
  /** The position at which the channel was opened. */
  readonly opened: number
  /** The position of the last broadcast that was dropped, or that of the opening. */
  floor: number
  readonly retained: Retained.Retained
  size: number
}

/** Learns of changes. */
export interface Recorder {
  readonly retained: (history: History, broadcast: Broadcast) => void
  /** The broadcast is the floor of its history now. */
  readonly dropped: (history: History) => void
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
    for (let history = lane.histories.peek(); history; history = lane.histories.peek()) drop(histories, history)
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
  place: undefined,
  rank: 0,
  onEmptied: undefined,
  opened,
  floor,
  retained: Retained.make(),
  size: 0
})

/** The channel is closed: drops its broadcasts. */
export const close = (histories: Histories, history: History): void => {
  history.onEmptied = undefined
  while (!isEmpty(history)) drop(histories, history)
}

/** What is known of a broadcast when it is appended. Its message is not cut out of another text. */
export type Broadcast = Pick<Retained.Entry, "position" | "message" | "exceptSid">

/**
 * Appends a broadcast, and drops what is beyond a limit. One that is larger than a limit is not retained. `onEmptied` is not called,
 * and not set afterwards.
 */
export const append = (histories: Histories, history: History, broadcast: Broadcast): void => {
  // If all earlier ones are too old, that must not close the channel which this one is for.
  history.onEmptied = undefined
  const now = histories.now()
  expire(histories, now)
  add(histories, history, broadcast, now)
  histories.recorder?.retained(history, broadcast)
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
): void => {
  const size = overhead + 2 * (message.length + (exceptSid?.length ?? 0))
  const { retained } = history
  Retained.append(retained, {
    position,
    message: flatten(message),
    exceptSid: exceptSid && ownText(exceptSid),
    at,
    size
  })
  history.size += size
  histories.size += size
  histories.total.size += size
  if (retained.count === 1) enter(histories, history)
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
    if (lane.since >= before) continue
    for (let oldest = oldestIn(lane); oldest !== undefined; oldest = oldestIn(lane)) {
      lane.since = Retained.oldestTime(oldest.retained)
      if (lane.since >= before || dropped === most) break
      drop(histories, oldest)
      dropped++
    }
  }
  return dropped
}

/** Not before this, on the clock of the vhost, something is too old; `undefined` if nothing is retained. */
export const nextDue = ({ lanes }: Histories): number | undefined => {
  let next = Infinity
  for (const { age, histories, since } of lanes.values()) if (histories.size > 0) next = Math.min(next, since + age)
  // At most once a second, and surely after it.
  return next === Infinity ? undefined : Math.ceil(next / 1000) * 1000 + 1
}

/** The channels of a vhost have these limits now, all that have a history: what is beyond them is dropped. */
export const limit = (histories: Histories, limits: ReadonlyMap<History, ChannelLimits>): void => {
  histories.lanes.clear()
  for (const [history, own] of limits) {
    history.limits = own
    history.place = undefined
    history.lane &&= laneOf(histories, own.age)
    if (!isEmpty(history)) enter(histories, history)
  }
  expire(histories)
  for (const history of limits.keys()) trim(histories, history)
}

/** Whether nothing is retained. */
export const isEmpty = ({ retained }: History): boolean => retained.count === 0

/** The position of the last broadcast, or that of the floor. */
export const headOf = ({ floor, retained }: History): number =>
  retained.count === 0 ? floor : Retained.positionOf(retained, retained.count - 1)

/** Visits the broadcasts after a position, the oldest first, until a visit returns `false`. */
export const visitAfter = (
  { retained }: History,
  position: number,
  visit: (entry: Retained.Entry) => boolean
): void => {
  for (let nth = firstAfter(retained, position); nth < retained.count; nth++) {
    if (!visit(Retained.entryOf(retained, nth))) return
  }
}

/** The position after which there are at most `count` broadcasts. */
export const positionBefore = (history: History, count: number): number => {
  const { floor, retained } = history
  if (count === 0) return headOf(history)
  const nth = retained.count - count - 1
  return nth < 0 ? floor : Retained.positionOf(retained, nth)
}

const firstAfter = (retained: Retained.Retained, position: number): number => {
  let low = 0
  let high = retained.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (Retained.positionOf(retained, middle) > position) high = middle
    else low = middle + 1
  }
  return low
}

const laneOf = ({ lanes }: Histories, age: number): Lane => {
  const known = lanes.get(age)
  if (known !== undefined) return known
  const lane: Lane = { age, histories: Heap.make((one, other) => one.rank < other.rank), since: Infinity }
  lanes.set(age, lane)
  return lane
}

// Something is retained of it now.
const enter = (histories: Histories, history: History): void => {
  const at = Retained.oldestTime(history.retained)
  const lane = history.lane ??= laneOf(histories, history.limits.age)
  const isFirst = lane.histories.size === 0
  lane.since = isFirst ? at : Math.min(lane.since, at)
  history.rank = Retained.positionOf(history.retained, 0)
  lane.histories.put(history.place ??= Heap.entryOf(history))
  if (isFirst) histories.onDue()
}

// The history with the oldest broadcast.
const oldestIn = ({ histories }: Lane): History | undefined => {
  for (let first = histories.peek(); first !== undefined; first = histories.peek()) {
    const position = Retained.positionOf(first.retained, 0)
    if (first.rank === position) return first
    first.rank = position
    histories.put(first.place!)
  }
  return undefined
}

const dropOldest = (histories: Histories): void => {
  let found: History | undefined
  for (const lane of histories.lanes.values()) {
    const oldest = oldestIn(lane)
    if (oldest !== undefined && (found === undefined || oldest.rank < found.rank)) found = oldest
  }
  if (found !== undefined) drop(histories, found)
}

// Within the limits of the channel.
const trim = (histories: Histories, history: History): void => {
  const { limits } = history
  while (history.retained.count > limits.count || history.size > limits.size) drop(histories, history)
}

// The oldest broadcast of a channel.
const drop = (histories: Histories, history: History): void => {
  const { retained } = history
  const size = Retained.oldestSize(retained)
  history.floor = Retained.positionOf(retained, 0)
  Retained.dropOldest(retained)
  history.size -= size
  histories.size -= size
  histories.total.size -= size
  histories.recorder?.dropped(history)
  if (!isEmpty(history)) return
  history.lane!.histories.remove(history.place!)
  history.onEmptied?.()
}

const dropOfLargest = ({ vhosts }: Total): void => {
  let largest: Histories | undefined
  for (const histories of vhosts) if (histories.size > (largest?.size ?? 0)) largest = histories
  if (largest !== undefined) dropOldest(largest)
}
