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
  type LaneInfo,
  NoWorkerError,
  type Options,
  type Outcome,
  QueueFullError,
  RequestResult,
  type StoredEvent
} from "../EventQueue.ts"
import * as Heap from "./heap.ts"
import * as LaneStates from "./laneState.ts"
import * as QueuedEvent from "./queuedEvent.ts"

type Event = QueuedEvent.Event
type Expiring = QueuedEvent.Expiring
type LaneState = LaneStates.LaneState

/** The state of a queue. */
interface State {
  readonly options: Options
  readonly lanes: Readonly<Record<Lane, LaneState>>
  /** The lanes again, for iteration. */
  readonly all: ReadonlyArray<LaneState>
  readonly delayed: Heap.Heap<Event>
  /** Requests without a result. */
  readonly deadlines: Heap.Heap<Expiring>
  readonly counters: { accepted: number; refused: number; dropped: number; redelivered: number }
  readonly idPrefix: string
  nextNumber: number
  capacity: Readonly<Record<Lane, Capacity>>
  /** Until when lifecycle events are queued, in lived time; `undefined` while no worker takes any. */
  attendedUntil: number | undefined
  isDelivering: boolean
  /** Whether requests are accepted. */
  takesRequests: boolean
  /** What `nextDue` returned last. */
  nextDue: number
}

/** Makes a vhost's queue, with the restored events in it. */
export const make = (options: Options): EventQueue => {
  const state = restore(options)
  const { counters, delayed, lanes } = state
  return {
    enqueue: (event) => enqueue(state, event),
    grant: (capacity) => {
      state.capacity = capacity
      attend(state, capacity.lifecycle.workers > 0)
      deliverAll(state)
    },
    settle: (events, outcome) => settleAll(state, events as ReadonlyArray<Event>, outcome),
    cancel: (lane, key) => Exit.succeed(cancel(state, lanes[lane], key)),
    requeueDue: () => {
      const now = options.timeline.now()
      expire(state, now)
      for (let event = delayed.peek(); event !== undefined && event.dueAt <= now; event = delayed.peek()) {
        removeDelay(state, event)
        lanes[event.lane].queued.requeue(event)
      }
      deliverAll(state)
    },
    endRequests: (reason) => {
      state.takesRequests = false
      endWhile(state, () => true, RequestResult.Failed({ reason }))
    },
    nextDue: () => {
      const due = Math.min(delayed.peek()?.dueAt ?? Infinity, state.deadlines.peek()?.deadline ?? Infinity)
      state.nextDue = due
      return due === Infinity ? undefined : due
    },
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
        return queuedIn(lanes.events) + queuedIn(lanes.requests) + queuedIn(lanes.lifecycle)
      }
    },
    queuedIn: (lane) => queuedIn(lanes[lane]),
    infoOf: (lane) => infoOf(state, lanes[lane])
  }
}

const queuedIn = ({ total, unacked }: LaneState): number => total.count - unacked.count

const infoOf = ({ options }: State, lane: LaneState): LaneInfo => {
  const since = lane.queued.first()?.waitsSince
  return {
    queued: queuedIn(lane),
    unacked: lane.unacked.count,
    oldestAge: since === undefined ? undefined : Math.max(0, options.timeline.now() - since)
  }
}

const restore = (options: Options): State => {
  const laneOf = (name: Lane) => LaneStates.make(name, options.journal)
  const lanes = { events: laneOf("events"), requests: laneOf("requests"), lifecycle: laneOf("lifecycle") }
  const state: State = {
    options,
    lanes,
    all: Object.values(lanes),
    delayed: Heap.make((one, other) => one.dueAt < other.dueAt),
    deadlines: Heap.make((one, other) => one.deadline < other.deadline),
    counters: { accepted: 0, refused: 0, dropped: 0, redelivered: 0 },
    // Keeps ids unique across all queues, also those of earlier brokers.
    idPrefix: Hex.encode(SecureRandom.randomBytesUnsafe(6)),
    nextNumber: 0,
    capacity: LaneStates.noCapacity,
    attendedUntil: undefined,
    isDelivering: false,
    takesRequests: true,
    nextDue: Infinity
  }
  for (const stored of options.events ?? []) restoreEvent(state, lanes.events, stored)
  return state
}

// The clock may have been set since, but no delay becomes longer.
const restoreEvent = (state: State, lane: LaneState, stored: StoredEvent): void => {
  const { dedupeKey, delay, dueAt, json, origin } = stored
  const left = delay === undefined || dueAt === undefined
    ? 0
    : Math.max(0, Math.min(delay, dueAt - state.options.clock.currentTimeMillisUnsafe()))
  const event = eventOf(state, { lane: "events", json, origin, dedupeKey }, left, stored)
  lane.delivered = event.number
  add(state, lane, event, left)
  wait(state, event)
}

const eventOf = (state: State, event: Enqueue, delay: number, stored?: StoredEvent): Event => {
  const number = stored?.place ?? state.options.journal?.nextPlace?.() ?? state.nextNumber
  state.nextNumber = number + 1
  const delayed = delay > 0
    ? { delay, dueAt: Math.ceil(state.options.clock.currentTimeMillisUnsafe() + delay) }
    : undefined
  return QueuedEvent.make(event, { idPrefix: state.idPrefix, number }, delayed, stored)
}

const add = (state: State, lane: LaneState, event: Event, delay: number) => {
  lane.total.count++
  lane.total.size += event.size
  if (event.dedupeKey !== undefined) lane.dedupe.set(event.dedupeKey, event)
  if (event.deadline !== undefined) {
    const entry = Heap.entryOf(event as Expiring)
    event.expiring = entry
    state.deadlines.put(entry)
    wakeAt(state, event.deadline)
  }
  if (delay > 0) delayBy(state, event, delay)
  else lane.queued.append(event)
}

const enqueue = (state: State, event: Enqueue): Exit.Exit<"Queued" | "Duplicate", QueueFullError | NoWorkerError> => {
  const { capacity, counters, lanes } = state
  const lane = lanes[event.lane]
  if (event.dedupeKey !== undefined && lane.dedupe.has(event.dedupeKey)) return duplicate
  if (!isTaken(state, event.lane)) return noWorker[event.lane]
  const delay = event.delay === undefined ? 0 : Duration.toMillis(event.delay)
  const queued = eventOf(state, event, delay)
  if (event.lane === "lifecycle") makeRoom(state, lane, queued.size)
  // An event that is delivered immediately needs no room.
  else if (
    LaneStates.isFull(lane, state.options, queued.size) &&
    (delay > 0 || !LaneStates.canDeliver(lane, state.options, capacity[event.lane]))
  ) {
    counters.refused++
    state.options.wake?.()
    return Exit.fail(
      new QueueFullError({ queued: lane.total.count - lane.unacked.count, unacked: lane.unacked.count })
    )
  }
  counters.accepted++
  add(state, lane, queued, delay)
  lane.journal?.created(QueuedEvent.newEntryOf(queued))
  deliverAll(state)
  if (!queued.isDelivered) wait(state, queued)
  return accepted
}

// The clock is read only for events that no worker has at once.
const wait = ({ options }: State, event: Event): void => {
  event.waitsSince ??= options.timeline.now()
}

const accepted = Exit.succeed("Queued" as const)
const duplicate = Exit.succeed("Duplicate" as const)

// Made once: anybody can cause many, and an error's stack trace is dear.
const noWorker: Readonly<Record<Lane, Exit.Exit<never, NoWorkerError>>> = {
  events: Exit.fail(new NoWorkerError({ lane: "events" })),
  requests: Exit.fail(new NoWorkerError({ lane: "requests" })),
  lifecycle: Exit.fail(new NoWorkerError({ lane: "lifecycle" }))
}

// Whether events of a lane are accepted at all.
const isTaken = ({ attendedUntil, capacity, takesRequests }: State, lane: Lane): boolean =>
  lane === "events" ||
  (lane === "requests" ? takesRequests && capacity.requests.workers > 0 : attendedUntil !== undefined)

// The clock is read only when the last worker of the lane leaves.
const attend = (state: State, isAttended: boolean): void => {
  if (isAttended) state.attendedUntil = Infinity
  else if (state.attendedUntil === Infinity) {
    state.attendedUntil = state.options.timeline.lived() + Duration.toMillis(state.options.lifecycleRetention)
  }
}

// Delivers the oldest event that a worker can take, until there is none.
const deliverAll = (state: State): void => {
  // Not recursively: a delivery may end, and so grant capacity, before `deliver` returns.
  if (state.isDelivering) return
  state.isDelivering = true
  let ended = 0
  for (let lane = nextLane(state); lane !== undefined; lane = nextLane(state)) {
    const event = lane.queued.first()!
    const isExpired = event.deadline !== undefined && event.deadline <= state.options.timeline.now()
    // The rest is ended by `requeueDue`, which is due, and delivers then.
    if (isExpired && ++ended > maxExpiring) break
    lane.queued.take()
    if (isExpired) {
      LaneStates.end(lane, event)
      respond(state, event, expired)
      continue
    }
    LaneStates.beginDelivery(lane, event)
    state.options.deliver(event)
  }
  state.isDelivering = false
}

const nextLane = ({ all, capacity, options }: State) => LaneStates.next(all, options, capacity)

const settleAll = (state: State, events: ReadonlyArray<Event>, outcome: Outcome): void => {
  // Before they are settled.
  QueuedEvent.measure(state.options.lags, events, outcome, performance.now())
  for (const event of events) settle(state, event, outcome)
}

const settle = (state: State, event: Event, outcome: Outcome): void => {
  if (!event.isDelivered) return
  const lane = state.lanes[event.lane]
  event.isDelivered = false
  lane.unacked.count--
  lane.unacked.size -= event.size
  switch (outcome._tag) {
    case "Acked":
      LaneStates.end(lane, event)
      return respond(state, event, withoutResponse)
    case "Responded":
      LaneStates.end(lane, event)
      return respond(state, event, outcome)
    case "Nacked":
      if (++event.failures >= outcome.maxAttempts || lane.name === "requests") {
        return fail(state, lane, event, outcome.reason)
      }
      return redeliver(state, lane, event, backoff(state, event.failures))
    case "Released":
      return redeliver(state, lane, event, backoff(state, event.releases++))
    case "Unsent":
      event.attempts--
      return requeue(state, lane, event, 0)
    case "Lost":
      if (outcome.isCounted && ++event.losses >= state.options.maxDeliveries) {
        return fail(state, lane, event, QueuedEvent.lostTooOften(event))
      }
      return redeliver(state, lane, event, 0)
  }
}

/** How often a backoff doubles at most. */
const mostDoublings = 6

// The first time there is none.
const backoff = ({ options }: State, times: number): number =>
  times === 0 ? 0 : Duration.toMillis(options.redeliveryBackoff) * 2 ** Math.min(times - 1, mostDoublings)

const redeliver = (state: State, lane: LaneState, event: Event, delay: number): void => {
  state.counters.redelivered++
  requeue(state, lane, event, delay)
}

// A request whose deadline has passed already has its result.
const requeue = (state: State, lane: LaneState, event: Event, delay: number): void => {
  if (event.deadline !== undefined && event.expiring === undefined) return LaneStates.end(lane, event)
  lane.journal?.updated(QueuedEvent.entryOf(event))
  wait(state, event)
  if (delay > 0) delayBy(state, event, delay)
  else lane.queued.requeue(event)
}

const delayBy = (state: State, event: Event, delay: number): void => {
  event.dueAt = state.options.timeline.now() + delay
  event.delayed = Heap.entryOf(event)
  state.delayed.put(event.delayed)
  wakeAt(state, event.dueAt)
}

const wakeAt = ({ nextDue, options }: State, due: number): void => {
  if (due < nextDue) options.wake?.()
}

const removeDelay = (state: State, event: Event): void => {
  if (event.delayed !== undefined) state.delayed.remove(event.delayed)
  event.delayed = undefined
}

// Becomes a dead letter unless it is a request. Added before it is removed, so that no event is lost if this is interrupted by
// a defect.
const fail = (state: State, lane: LaneState, event: Event, reason: string): void => {
  const { attempts, id, json, origin } = event
  if (lane.name !== "requests") state.options.deadLetters.addUnsafe({ id, json, origin, attempts, reason })
  LaneStates.end(lane, event)
  respond(state, event, RequestResult.Failed({ reason }))
}

const expired = RequestResult.Expired()
const cancelled = RequestResult.Cancelled()
const withoutResponse = RequestResult.Failed({ reason: "its worker has acked it without a response" })

// A request has one result.
const respond = (state: State, event: Event, result: RequestResult): void => {
  if (event.expiring === undefined) return
  state.deadlines.remove(event.expiring)
  event.expiring = undefined
  state.options.respond?.(event.replyTo, result)
}

/** How many requests expire in one step; the others are due in the next. */
const maxExpiring = 256

const expire = (state: State, now: number): void => {
  let left = maxExpiring
  endWhile(state, ({ deadline }) => deadline <= now && left-- > 0, expired)
}

// Ends requests, the earliest deadline first. One that a worker has stays unacked until the worker is done with it.
const endWhile = (state: State, isOver: (event: Expiring) => boolean, result: RequestResult): void => {
  const { deadlines, lanes } = state
  for (let event = deadlines.peek(); event !== undefined && isOver(event); event = deadlines.peek()) {
    if (!event.isDelivered) removeQueued(state, lanes[event.lane], event)
    respond(state, event, result)
  }
}

const cancel = (state: State, lane: LaneState, key: string): boolean => {
  const event = lane.dedupe.get(key)
  if (event === undefined || event.attempts > 0) return false
  removeQueued(state, lane, event)
  respond(state, event, cancelled)
  return true
}

const removeQueued = (state: State, lane: LaneState, event: Event): void => {
  if (event.delayed === undefined) lane.queued.remove(event)
  else removeDelay(state, event)
  LaneStates.end(lane, event)
}

const makeRoom = (state: State, lane: LaneState, size: number): void => {
  while (LaneStates.isFull(lane, state.options, size) && dropOldest(state, lane));
}

const dropOldest = (state: State, lane: LaneState): boolean => {
  const oldest = lane.queued.take()
  if (oldest === undefined) return false
  state.counters.dropped++
  LaneStates.end(lane, oldest)
  return true
}
