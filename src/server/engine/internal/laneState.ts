/**
 * What a lane of the local queue holds, counted, and its limits: whether it is full, and which lane is next.
 */

import type { Capacity, Lane, Options } from "../EventQueue.ts"
import type { Journal } from "../Journal.ts"
import * as OrderedQueue from "./orderedQueue.ts"
import * as QueuedEvent from "./queuedEvent.ts"

/** The events of one lane. */
export interface LaneState {
  readonly name: Lane
  /** Where its events are recorded, if they are. */
  readonly journal: Journal | undefined
  /** The last place whose first delivery is recorded, so that no earlier one needs a record of its own. */
  delivered: number
  readonly dedupe: Map<string, QueuedEvent.Event>
  readonly queued: OrderedQueue.OrderedQueue<QueuedEvent.Event>
  /** Queued, delayed and unacked events. */
  readonly total: { count: number; size: number }
  readonly unacked: { count: number; size: number }
}

/** The limits of each lane. */
export type Limits = Pick<Options, "queueCapacity" | "queueSize">

/** Makes an empty lane. Requests and lifecycle events are about browsers of this process, so they are not persisted. */
export const make = (name: Lane, journal: Journal | undefined): LaneState => ({
  name,
  journal: name === "events" ? journal : undefined,
  delivered: 0,
  dedupe: new Map(),
  queued: OrderedQueue.make(),
  total: { count: 0, size: 0 },
  unacked: { count: 0, size: 0 }
})

/** The capacity without workers. */
export const noCapacity: Readonly<Record<Lane, Capacity>> = {
  events: { workers: 0, credits: 0, idle: 0 },
  requests: { workers: 0, credits: 0, idle: 0 },
  lifecycle: { workers: 0, credits: 0, idle: 0 }
}

/** Whether an event of this size would exceed the limits. */
export const isFull = ({ total }: LaneState, limits: Limits, size: number): boolean =>
  total.count >= limits.queueCapacity || total.size + size > limits.queueSize

/**
 * Whether an event can be delivered now. A worker that holds no event can always get one; beyond the limits no worker gets more
 * than that.
 */
export const canDeliver = ({ unacked }: LaneState, limits: Limits, { credits, idle }: Capacity): boolean =>
  credits > 0 && (idle > 0 || (unacked.count < limits.queueCapacity && unacked.size < limits.queueSize))

/** The lane with the oldest event that can be delivered. */
export const next = (
  lanes: ReadonlyArray<LaneState>,
  limits: Limits,
  capacity: Readonly<Record<Lane, Capacity>>
): LaneState | undefined => {
  let next: LaneState | undefined
  let least = Infinity
  for (const lane of lanes) {
    const first = lane.queued.first()
    if (first === undefined || first.number > least || !canDeliver(lane, limits, capacity[lane.name])) continue
    next = lane
    least = first.number
  }
  return next
}

/** Counts and records a delivery. */
export const beginDelivery = (lane: LaneState, event: QueuedEvent.Event): void => {
  event.isDelivered = true
  event.attempts++
  lane.unacked.count++
  lane.unacked.size += event.size
  const { journal } = lane
  if (journal === undefined) return
  if (event.attempts > 1 || event.stored !== undefined || event.number <= lane.delivered) {
    return journal.updated(QueuedEvent.entryOf(event))
  }
  lane.delivered = event.number
  journal.delivered(event.number)
}

/** Removes an event that is not queued any more from the lane. */
export const end = (lane: LaneState, event: QueuedEvent.Event): void => {
  lane.total.count--
  lane.total.size -= event.size
  if (event.dedupeKey !== undefined) lane.dedupe.delete(event.dedupeKey)
  lane.journal?.deleted("Event", event.number)
}
