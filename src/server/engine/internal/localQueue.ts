/**
 * The event queue of a single broker: in memory, with a journal, each operation one synchronous step.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Hex from "effect/encoding/Hex"
import * as Exit from "effect/Exit"
import {
  type Capacity,
  type Enqueue,
  type EventQueue,
  type Lane,
  NoWorkerError,
  type Options,
  type Outcome,
  type Queued,
  QueueFullError,
  sizeOf,
  type StoredEvent
} from "../EventQueue.ts"
import * as Journal from "../Journal.ts"
import * as Heap from "./heap.ts"
import * as InOrder from "./lane.ts"

interface Event extends Queued {
  attempts: number
  failures: number
  releases: number
  losses: number
  isDelivered: boolean
  /** When its delay ends, if it is delayed. */
  dueAt: number
  /** Its entry in `State.delayed`. */
  delayed: Heap.Entry<Event> | undefined
}

interface LaneState {
  readonly name: Lane
  readonly journal: Journal.Journal
  readonly queued: InOrder.Lane<Event>
  /** Queued, delayed and unacked events. */
  readonly total: { count: number; size: number }
  readonly unacked: { count: number; size: number }
}

/** The state of a queue. */
interface State {
  readonly options: Options
  readonly lanes: Readonly<Record<Lane, LaneState>>
  /** The lanes again, for iteration. */
  readonly all: ReadonlyArray<LaneState>
  readonly delayed: Heap.Heap<Event>
  readonly dedupe: Map<string, Event>
  readonly counters: { accepted: number; refused: number; dropped: number; redelivered: number }
  readonly idPrefix: string
  number: number
  capacity: Readonly<Record<Lane, Capacity>>
  /** Until when lifecycle events are queued, in lived time; `undefined` while noCapacity takes any. */
  attendedUntil: number | undefined
  isDelivering: boolean
}

/** Makes a vhost's queue, with the restored events in it. */
export const make = (options: Options): EventQueue => {
  const state = restore(options)
  const { counters, delayed, lanes } = state
  const queuedIn = (lane: Lane) => lanes[lane].total.count - lanes[lane].unacked.count
  return {
    enqueue: (event) => enqueue(state, event),
    grant: (capacity) => {
      state.capacity = capacity
      attend(state, capacity.lifecycle.workers > 0)
      deliverAll(state)
    },
    settle: (events, outcome) => {
      for (const event of events) settle(state, event as Event, outcome)
    },
    cancel: (key) => cancel(state, key),
    requeueDue: () => {
      const now = options.timeline.now()
      for (let event = delayed.peek(); event !== undefined && event.dueAt <= now; event = delayed.peek()) {
        removeDelay(state, event)
        lanes[event.lane].queued.requeue(event)
      }
      deliverAll(state)
    },
    nextDue: () => delayed.peek()?.dueAt,
    dropUnattended: () => {
      if (state.attendedUntil !== undefined && options.timeline.lived() > state.attendedUntil) {
        state.attendedUntil = undefined
      }
      if (state.attendedUntil === undefined) { while (dropOldest(state, lanes.lifecycle)); }
    },
    isAttended: () => state.attendedUntil !== undefined,
    counters: {
      get accepted() {
        return counters.accepted
      },
      get refused() {
        return counters.refused
      },
      get dropped() {
        return counters.dropped
      },
      get redelivered() {
        return counters.redelivered
      },
      get queued() {
        return queuedIn("events") + queuedIn("requests") + queuedIn("lifecycle")
      }
    },
    queuedIn
  }
}

const restore = (options: Options): State => {
  const laneOf = (name: Lane): LaneState => ({
    name,
    // Requests and lifecycle events are about browsers of this process, so they are not persisted.
    journal: name === "events" ? options.journal ?? Journal.none : Journal.none,
    queued: InOrder.make(),
    total: { count: 0, size: 0 },
    unacked: { count: 0, size: 0 }
  })
  const lanes = { events: laneOf("events"), requests: laneOf("requests"), lifecycle: laneOf("lifecycle") }
  const state: State = {
    options,
    lanes,
    all: Object.values(lanes),
    delayed: Heap.make((one, other) =>
      one.dueAt < other.dueAt || (one.dueAt === other.dueAt && one.number < other.number)
    ),
    dedupe: new Map(),
    counters: { accepted: 0, refused: 0, dropped: 0, redelivered: 0 },
    // Keeps ids unique across all queues, also those of earlier brokers.
    idPrefix: Hex.encode(SecureRandom.randomBytesUnsafe(6)),
    number: 0,
    capacity: noCapacity,
    attendedUntil: undefined,
    isDelivering: false
  }
  for (const stored of options.events ?? []) {
    add(state, lanes.events, eventOf(state, { lane: "events", json: stored.json, origin: stored.origin }, stored))
  }
  return state
}

const noCapacity: Readonly<Record<Lane, Capacity>> = {
  events: { workers: 0, credits: 0, idle: 0 },
  requests: { workers: 0, credits: 0, idle: 0 },
  lifecycle: { workers: 0, credits: 0, idle: 0 }
}

const eventOf = (state: State, event: Enqueue, stored?: StoredEvent): Event => {
  const number = state.number++
  return {
    id: stored === undefined ? `${state.idPrefix}-${number.toString(36)}` : stored.id,
    number,
    lane: event.lane,
    json: event.json,
    origin: event.origin,
    size: sizeOf(event.json, event.origin),
    deadline: event.deadline,
    dedupeKey: event.dedupeKey,
    replyTo: event.replyTo,
    attempts: stored === undefined ? 0 : stored.attempts,
    failures: stored === undefined ? 0 : stored.failures,
    losses: stored === undefined ? 0 : stored.losses,
    releases: 0,
    isDelivered: false,
    dueAt: 0,
    delayed: undefined
  }
}

const add = (state: State, lane: LaneState, event: Event, delay = 0) => {
  lane.total.count++
  lane.total.size += event.size
  if (event.dedupeKey !== undefined) state.dedupe.set(event.dedupeKey, event)
  if (delay > 0) delayBy(state, event, delay)
  else lane.queued.append(event)
}

const enqueue = (state: State, event: Enqueue): Exit.Exit<"Queued" | "Duplicate", QueueFullError | NoWorkerError> => {
  const { capacity, counters, lanes } = state
  const lane = lanes[event.lane]
  if (event.dedupeKey !== undefined && state.dedupe.has(event.dedupeKey)) return duplicate
  if (!isTaken(state, event.lane)) return Exit.fail(new NoWorkerError({ lane: event.lane }))
  const queued = eventOf(state, event)
  const delay = event.delay === undefined ? 0 : Duration.toMillis(event.delay)
  if (event.lane === "lifecycle") makeRoom(state, lane, queued.size)
  // An event that is delivered immediately needs no room.
  else if (isFull(state, lane, queued.size) && (delay > 0 || !canPlace(state, lane, capacity[event.lane]))) {
    counters.refused++
    state.options.wake?.()
    return Exit.fail(
      new QueueFullError({ queued: lane.total.count - lane.unacked.count, unacked: lane.unacked.count })
    )
  }
  counters.accepted++
  add(state, lane, queued, delay)
  lane.journal.created(entryOf(queued))
  deliverAll(state)
  return accepted
}

const accepted = Exit.succeed("Queued" as const)
const duplicate = Exit.succeed("Duplicate" as const)

// Whether events of a lane are accepted at all.
const isTaken = ({ attendedUntil, capacity }: State, lane: Lane): boolean =>
  lane === "events" || (lane === "requests" ? capacity.requests.workers > 0 : attendedUntil !== undefined)

// The clock is read only when the last worker of the lane leaves.
const attend = (state: State, isAttended: boolean): void => {
  if (isAttended) state.attendedUntil = Infinity
  else if (state.attendedUntil === Infinity) {
    state.attendedUntil = state.options.timeline.lived() + Duration.toMillis(state.options.lifecycleRetention)
  }
}

const isFull = ({ options }: State, { total }: LaneState, size: number): boolean =>
  total.count >= options.queueCapacity || total.size + size > options.queueSize

// A worker that holds no event can always get one; beyond the limits no worker gets more than that.
const canPlace = ({ options }: State, { unacked }: LaneState, { credits, idle }: Capacity): boolean =>
  credits > 0 && (idle > 0 || (unacked.count < options.queueCapacity && unacked.size < options.queueSize))

// Delivers the oldest event that a worker can take, until there is none.
const deliverAll = (state: State): void => {
  // Not recursively: a delivery may end, and so grant capacity, before `deliver` returns.
  if (state.isDelivering) return
  state.isDelivering = true
  for (let lane = nextLane(state); lane !== undefined; lane = nextLane(state)) {
    const event = lane.queued.take()!
    event.isDelivered = true
    event.attempts++
    lane.unacked.count++
    lane.unacked.size += event.size
    lane.journal.updated(entryOf(event))
    state.options.deliver(event)
  }
  state.isDelivering = false
}

const nextLane = (state: State): LaneState | undefined => {
  let next: LaneState | undefined
  let least = Infinity
  for (const lane of state.all) {
    const first = lane.queued.first()
    if (first === undefined || first.number > least || !canPlace(state, lane, state.capacity[lane.name])) continue
    next = lane
    least = first.number
  }
  return next
}

const settle = (state: State, event: Event, outcome: Outcome): void => {
  if (!event.isDelivered) return
  const lane = state.lanes[event.lane]
  event.isDelivered = false
  lane.unacked.count--
  lane.unacked.size -= event.size
  switch (outcome._tag) {
    case "Acked":
      return end(state, lane, event)
    case "Responded":
      end(state, lane, event)
      return state.options.respond?.(event.replyTo, outcome.response)
    case "Nacked":
      if (++event.failures >= outcome.maxAttempts) return toDeadLetter(state, lane, event, outcome.reason)
      return redeliver(state, lane, event, backoff(state, event.failures))
    case "Released":
      return redeliver(state, lane, event, backoff(state, event.releases++))
    case "Unsent":
      event.attempts--
      lane.journal.updated(entryOf(event))
      return lane.queued.requeue(event)
    case "Lost":
      if (outcome.isCounted && ++event.losses >= state.options.maxDeliveries) {
        return toDeadLetter(state, lane, event, lostTooOften(event.losses))
      }
      return redeliver(state, lane, event, 0)
  }
}

const lostTooOften = (losses: number): string =>
  `delivered ${losses} ${
    losses === 1 ? "time" : "times"
  } without an acknowledgement: its worker crashed, timed out or lost ` +
  "its connection"

/** How often a backoff doubles at most. */
const mostDoublings = 6

// The first time there is none.
const backoff = ({ options }: State, times: number): number =>
  times === 0 ? 0 : Duration.toMillis(options.redeliveryBackoff) * 2 ** Math.min(times - 1, mostDoublings)

const redeliver = (state: State, lane: LaneState, event: Event, delay: number): void => {
  state.counters.redelivered++
  lane.journal.updated(entryOf(event))
  if (delay > 0) delayBy(state, event, delay)
  else lane.queued.requeue(event)
}

const delayBy = (state: State, event: Event, delay: number): void => {
  const earliest = state.delayed.peek()?.dueAt ?? Infinity
  event.dueAt = state.options.timeline.now() + delay
  event.delayed = Heap.entryOf(event)
  state.delayed.put(event.delayed)
  if (event.dueAt < earliest) state.options.wake?.()
}

const removeDelay = (state: State, event: Event): void => {
  if (event.delayed !== undefined) state.delayed.remove(event.delayed)
  event.delayed = undefined
}

// Added before it is removed, so that no event is lost if this is interrupted by a defect.
const toDeadLetter = (state: State, lane: LaneState, event: Event, reason: string): void => {
  const { attempts, id, json, origin } = event
  state.options.deadLetters.addUnsafe({ id, json, origin, attempts, reason })
  end(state, lane, event)
}

const end = ({ dedupe }: State, lane: LaneState, event: Event): void => {
  lane.total.count--
  lane.total.size -= event.size
  if (event.dedupeKey !== undefined) dedupe.delete(event.dedupeKey)
  lane.journal.deleted("Event", event.id)
}

const cancel = (state: State, key: string): boolean => {
  const event = state.dedupe.get(key)
  if (event === undefined || event.isDelivered) return false
  const lane = state.lanes[event.lane]
  if (event.delayed === undefined) lane.queued.remove(event)
  else removeDelay(state, event)
  end(state, lane, event)
  return true
}

const makeRoom = (state: State, lane: LaneState, size: number): void => {
  while (isFull(state, lane, size) && dropOldest(state, lane));
}

const dropOldest = (state: State, lane: LaneState): boolean => {
  const oldest = lane.queued.take()
  if (oldest === undefined) return false
  state.counters.dropped++
  end(state, lane, oldest)
  return true
}

const entryOf = ({ attempts, failures, id, json, losses, origin }: Event) =>
  ({ _tag: "Event", id, json, origin: origin ?? null, attempts, failures, losses }) as const
