/**
 * The queue of a broker that has its events for itself: in memory, with a journal, each operation one synchronous step.
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
  /** When it can be delivered, if it waits. */
  dueAt: number
  /** Its entry among those that wait. */
  delayed: Heap.Entry<Event> | undefined
}

interface Line {
  readonly lane: Lane
  readonly journal: Journal.Journal
  readonly queued: InOrder.Lane<Event>
  /** All that have not ended. */
  readonly total: { count: number; size: number }
  readonly unacked: { count: number; size: number }
}

/** The state of a queue. */
interface State {
  readonly options: Options
  readonly lines: Readonly<Record<Lane, Line>>
  /** The same, to look through. */
  readonly all: ReadonlyArray<Line>
  readonly delayed: Heap.Heap<Event>
  readonly dedupe: Map<string, Event>
  readonly counters: { accepted: number; refused: number; dropped: number; redelivered: number }
  readonly idPrefix: string
  number: number
  capacity: Readonly<Record<Lane, Capacity>>
  /** Until when lifecycle events are queued, in lived time; `undefined` while nobody takes any. */
  attendedUntil: number | undefined
  isDraining: boolean
}

/** Makes a vhost's queue, with the events in it that an earlier broker stored. */
export const make = (options: Options): EventQueue => {
  const state = begin(options)
  const { counters, delayed, lines } = state
  const waitingIn = (lane: Lane) => lines[lane].total.count - lines[lane].unacked.count
  return {
    enqueue: (event) => enqueue(state, event),
    grant: (capacity) => {
      state.capacity = capacity
      attend(state, capacity.lifecycle.workers > 0)
      drain(state)
    },
    settle: (events, outcome) => {
      for (const event of events) settle(state, event as Event, outcome)
    },
    cancel: (key) => cancel(state, key),
    requeueDue: () => {
      const now = options.timeline.now()
      for (let event = delayed.peek(); event !== undefined && event.dueAt <= now; event = delayed.peek()) {
        undelay(state, event)
        lines[event.lane].queued.requeue(event)
      }
      drain(state)
    },
    nextDue: () => delayed.peek()?.dueAt,
    dropUnattended: () => {
      if (state.attendedUntil !== undefined && options.timeline.lived() > state.attendedUntil) {
        state.attendedUntil = undefined
      }
      if (state.attendedUntil === undefined) { while (dropOldest(state, lines.lifecycle)); }
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
      get waiting() {
        return waitingIn("events") + waitingIn("requests") + waitingIn("lifecycle")
      }
    },
    waitingIn
  }
}

const begin = (options: Options): State => {
  const lineOf = (lane: Lane): Line => ({
    lane,
    // Requests end with their browser, and lifecycle events tell of browsers that the next broker does not have.
    journal: lane === "events" ? options.journal ?? Journal.none : Journal.none,
    queued: InOrder.make(),
    total: { count: 0, size: 0 },
    unacked: { count: 0, size: 0 }
  })
  const lines = { events: lineOf("events"), requests: lineOf("requests"), lifecycle: lineOf("lifecycle") }
  const state: State = {
    options,
    lines,
    all: Object.values(lines),
    delayed: Heap.make((one, other) =>
      one.dueAt < other.dueAt || (one.dueAt === other.dueAt && one.number < other.number)
    ),
    dedupe: new Map(),
    counters: { accepted: 0, refused: 0, dropped: 0, redelivered: 0 },
    // Tells its events from those of every other queue, also of an earlier one.
    idPrefix: Hex.encode(SecureRandom.randomBytesUnsafe(6)),
    number: 0,
    capacity: nobody,
    attendedUntil: undefined,
    isDraining: false
  }
  for (const stored of options.events ?? []) {
    add(state, lines.events, eventOf(state, { lane: "events", json: stored.json, origin: stored.origin }, stored))
  }
  return state
}

const nobody: Readonly<Record<Lane, Capacity>> = {
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

const add = (state: State, line: Line, event: Event, delay = 0) => {
  line.total.count++
  line.total.size += event.size
  if (event.dedupeKey !== undefined) state.dedupe.set(event.dedupeKey, event)
  if (delay > 0) waitFor(state, event, delay)
  else line.queued.append(event)
}

const enqueue = (state: State, event: Enqueue): Exit.Exit<"Queued" | "Duplicate", QueueFullError | NoWorkerError> => {
  const { capacity, counters, lines } = state
  const line = lines[event.lane]
  if (event.dedupeKey !== undefined && state.dedupe.has(event.dedupeKey)) return duplicate
  if (!isTaken(state, event.lane)) return Exit.fail(new NoWorkerError({ lane: event.lane }))
  const queued = eventOf(state, event)
  const delay = event.delay === undefined ? 0 : Duration.toMillis(event.delay)
  if (event.lane === "lifecycle") makeRoom(state, line, queued.size)
  // One that a worker takes at once needs no room.
  else if (isFull(state, line, queued.size) && (delay > 0 || !canPlace(state, line, capacity[event.lane]))) {
    counters.refused++
    state.options.wake?.()
    return Exit.fail(
      new QueueFullError({ queued: line.total.count - line.unacked.count, unacked: line.unacked.count })
    )
  }
  counters.accepted++
  add(state, line, queued, delay)
  line.journal.noteNew(noted(queued))
  drain(state)
  return accepted
}

const accepted = Exit.succeed("Queued" as const)
const duplicate = Exit.succeed("Duplicate" as const)

// Whether events of a lane are queued at all.
const isTaken = ({ attendedUntil, capacity }: State, lane: Lane): boolean =>
  lane === "events" || (lane === "requests" ? capacity.requests.workers > 0 : attendedUntil !== undefined)

// The clock is only read when the last of them leaves.
const attend = (state: State, isAttended: boolean): void => {
  if (isAttended) state.attendedUntil = Infinity
  else if (state.attendedUntil === Infinity) {
    state.attendedUntil = state.options.timeline.lived() + Duration.toMillis(state.options.lifecycleRetention)
  }
}

const isFull = ({ options }: State, { total }: Line, size: number): boolean =>
  total.count >= options.queueCapacity || total.size + size > options.queueSize

// A worker can always have one event whatever the others hold, more only within the limits.
const canPlace = ({ options }: State, { unacked }: Line, { credits, idle }: Capacity): boolean =>
  credits > 0 && (idle > 0 || (unacked.count < options.queueCapacity && unacked.size < options.queueSize))

// The oldest event that somebody takes, as long as there is one.
const drain = (state: State): void => {
  // Not within itself: a delivery may end, and so grant, before it returns.
  if (state.isDraining) return
  state.isDraining = true
  for (let line = nextLine(state); line !== undefined; line = nextLine(state)) {
    const event = line.queued.take()!
    event.isDelivered = true
    event.attempts++
    line.unacked.count++
    line.unacked.size += event.size
    line.journal.noteChanged(noted(event))
    state.options.deliver(event)
  }
  state.isDraining = false
}

const nextLine = (state: State): Line | undefined => {
  let next: Line | undefined
  let least = Infinity
  for (const line of state.all) {
    const first = line.queued.first()
    if (first === undefined || first.number > least || !canPlace(state, line, state.capacity[line.lane])) continue
    next = line
    least = first.number
  }
  return next
}

const settle = (state: State, event: Event, outcome: Outcome): void => {
  if (!event.isDelivered) return
  const line = state.lines[event.lane]
  event.isDelivered = false
  line.unacked.count--
  line.unacked.size -= event.size
  switch (outcome._tag) {
    case "Acked":
      return end(state, line, event)
    case "Responded":
      end(state, line, event)
      return state.options.respond?.(event.replyTo, outcome.response)
    case "Nacked":
      if (++event.failures >= outcome.maxAttempts) return bury(state, line, event, outcome.reason)
      return redeliver(state, line, event, backoff(state, event.failures))
    case "Released":
      return redeliver(state, line, event, backoff(state, event.releases++))
    case "Unsent":
      event.attempts--
      line.journal.noteChanged(noted(event))
      return line.queued.requeue(event)
    case "Lost":
      if (outcome.isCounted && ++event.losses >= state.options.maxDeliveries) {
        return bury(state, line, event, lostTooOften(event.losses))
      }
      return redeliver(state, line, event, 0)
  }
}

const lostTooOften = (losses: number): string =>
  `delivered ${losses} ${
    losses === 1 ? "time" : "times"
  } without an acknowledgement: its worker crashed, timed out or lost ` +
  "its connection"

/** How often a backoff doubles at most. */
const mostDoublings = 6

// None before the first time.
const backoff = ({ options }: State, times: number): number =>
  times === 0 ? 0 : Duration.toMillis(options.redeliveryBackoff) * 2 ** Math.min(times - 1, mostDoublings)

const redeliver = (state: State, line: Line, event: Event, delay: number): void => {
  state.counters.redelivered++
  line.journal.noteChanged(noted(event))
  if (delay > 0) waitFor(state, event, delay)
  else line.queued.requeue(event)
}

const waitFor = (state: State, event: Event, delay: number): void => {
  const earliest = state.delayed.peek()?.dueAt ?? Infinity
  event.dueAt = state.options.timeline.now() + delay
  event.delayed = Heap.entryOf(event)
  state.delayed.put(event.delayed)
  if (event.dueAt < earliest) state.options.wake?.()
}

const undelay = (state: State, event: Event): void => {
  if (event.delayed !== undefined) state.delayed.remove(event.delayed)
  event.delayed = undefined
}

// In this order: whatever happens in between, it is one of both.
const bury = (state: State, line: Line, event: Event, reason: string): void => {
  const { attempts, id, json, origin } = event
  state.options.deadLetters.addUnsafe({ id, json, origin, attempts, reason })
  end(state, line, event)
}

const end = ({ dedupe }: State, line: Line, event: Event): void => {
  line.total.count--
  line.total.size -= event.size
  if (event.dedupeKey !== undefined) dedupe.delete(event.dedupeKey)
  line.journal.forget("Event", event.id)
}

const cancel = (state: State, key: string): boolean => {
  const event = state.dedupe.get(key)
  if (event === undefined || event.isDelivered) return false
  const line = state.lines[event.lane]
  if (event.delayed === undefined) line.queued.remove(event)
  else undelay(state, event)
  end(state, line, event)
  return true
}

const makeRoom = (state: State, line: Line, size: number): void => {
  while (isFull(state, line, size) && dropOldest(state, line));
}

const dropOldest = (state: State, line: Line): boolean => {
  const oldest = line.queued.take()
  if (oldest === undefined) return false
  state.counters.dropped++
  end(state, line, oldest)
  return true
}

const noted = ({ attempts, failures, id, json, losses, origin }: Event) =>
  ({ _tag: "Event", id, json, origin: origin ?? null, attempts, failures, losses }) as const
