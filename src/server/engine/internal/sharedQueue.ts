/**
 * The event queue of a node that shares it with others: what the node wants becomes turns of a `SharedQueue`, and what it is given
 * goes to its workers.
 *
 * Events that were claimed and have no worker any more return at once, as not sent. What is known here of the whole queue, its
 * numbers and its workers, is as of the last turn: at most a second old while the node waits for events, and ten otherwise.
 */

import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import { TransientMap } from "../../../protocol/TransientMap.ts"
import {
  type Capacity,
  type Enqueue,
  type EventQueue,
  type Lane,
  NoWorkerError,
  type Options,
  Outcome,
  type Queued,
  QueueFullError,
  QueueUnavailableError
} from "../EventQueue.ts"
import { type Answer, Call, type SharedQueue, type Status, type TurnResult } from "../SharedQueue.ts"
import { supervised } from "../Supervisor.ts"
import { noCapacity } from "./laneState.ts"
import { measure, sizeOfEvent } from "./queuedEvent.ts"
import * as SharedRequests from "./sharedRequests.ts"
import * as SharedTurns from "./sharedTurns.ts"

/** The event queue of a node, and what else can be done with the shared one. */
export interface SharedEventQueue extends EventQueue {
  /** Executes turns, and is woken for them; run it in a fiber. Does not end. */
  readonly run: Effect.Effect<never>
  /**
   * Executes what is left, and returns what this node has to the others, if that is possible within 2 seconds. Call this when `run` has
   * been interrupted.
   */
  readonly leave: Effect.Effect<void>
  /** Executes a call that is no event. */
  readonly call: (call: Exclude<Call, { readonly _tag: "Enqueue" }>) => Effect.Effect<Answered, QueueUnavailableError>
  /** What the queue has over all nodes. */
  readonly status: () => Status
  /** How many dead letters this node has seen added and dropped. */
  readonly letters: { readonly added: number; readonly dropped: number }
}

/** How a call ended, and what the queue has then. */
export interface Answered {
  readonly answer: Answer
  readonly status: Status
}

/** What a node needs of the options of a queue. */
export type SharedOptions = Pick<Options, "timeline" | "deliver" | "respond" | "wake" | "lags">

/** An event that this node has. */
interface Held extends Queued, SharedTurns.Held {
  readonly since: number | undefined
}

interface State {
  readonly options: SharedOptions
  readonly shared: SharedQueue
  readonly turns: SharedTurns.Turns
  readonly requests: SharedRequests.SharedRequests
  /** The events that this node has, by their ids. */
  readonly held: TransientMap<string, Held>
  readonly counters: {
    accepted: number
    refused: number
    dropped: number
    redelivered: number
    readonly queued: number
  }
  readonly letters: { added: number; dropped: number }
  status: Status
  /** When the turn began that has read ages. */
  polledAt: number
  capacity: Readonly<Record<Lane, Capacity>>
  takesRequests: boolean
  dueAt: number
  /** What `nextDue` returned last. */
  nextDue: number
  /** Nodes that have ended, and are to be ended in this queue. */
  ended: ReadonlyArray<string>
  readonly hasEnded: Latch.Latch
}

/** How many milliseconds a node waits at most to leave the shared queue when it ends. */
const leaveTimeout = 2000

const noLane = { queued: 0, unacked: 0, oldestAge: undefined, workers: 0 }

const unknown: Status = {
  lanes: { events: noLane, requests: noLane, lifecycle: noLane },
  deadLetters: 0,
  dueIn: undefined,
  isAttended: false,
  dropped: 0,
  redelivered: 0,
  lettersAdded: 0,
  lettersDropped: 0
}

/** Makes the queue of a node. */
export const make = (shared: SharedQueue, options: SharedOptions): SharedEventQueue => {
  const state = makeState(shared, options)
  const { requests, turns } = state
  const { timeline } = options
  return {
    enqueue: (event) => enqueue(state, event),
    grant: (capacity) => {
      state.capacity = capacity
      if (isMore(capacity, turns.told())) turns.need()
    },
    settle: (events, outcome) => settle(state, events, outcome),
    cancel: (lane, dedupeKey) => cancel(state, lane, dedupeKey),
    requeueDue: () => {
      const now = timeline.now()
      if (requests.expire(now) || state.dueAt <= now) turns.need()
      if (state.dueAt <= now) state.dueAt = Infinity
    },
    endRequests: (reason) => {
      state.takesRequests = false
      requests.endAll(reason)
    },
    nextDue: () => {
      state.nextDue = Math.min(state.dueAt, requests.nextDue())
      return state.nextDue === Infinity ? undefined : state.nextDue
    },
    // The shared queue does it in each turn, and decides whether lifecycle events are accepted.
    dropUnattended: () => {},
    isAttended: () => true,
    counters: state.counters,
    queuedIn: (lane) => state.status.lanes[lane].queued,
    infoOf: (lane) => {
      const { oldestAge, queued, unacked } = state.status.lanes[lane]
      return { queued, unacked, oldestAge: oldestAge && oldestAge + timeline.now() - state.polledAt }
    },
    run: run(state),
    leave: leave(state),
    call: (call) =>
      Effect.suspend(() => {
        const done = Deferred.makeUnsafe<Answered, QueueUnavailableError>()
        turns.add(call, (answer, result) => void Deferred.doneUnsafe(done, answeredOf(answer, result)))
        return Deferred.await(done)
      }),
    status: () => state.status,
    letters: state.letters
  }
}

const makeState = (shared: SharedQueue, options: SharedOptions): State => {
  const state: State = {
    options,
    shared,
    turns: SharedTurns.make({
      shared,
      now: options.timeline.now,
      capacity: () => state.capacity,
      awaitsResponses: () => state.requests.size() > 0,
      isWaiting: () => state.capacity.events.credits > 0 || state.requests.size() > 0 || state.held.size > 0,
      onResult: (result, began) => receive(state, result, began),
      onFenced: () => {
        state.held.clear()
        state.takesRequests = false
        state.requests.endAll("its broker has lost its lease")
      }
    }),
    requests: SharedRequests.make((replyTo, result) => options.respond?.(replyTo, result)),
    held: new TransientMap(),
    counters: {
      accepted: 0,
      refused: 0,
      dropped: 0,
      redelivered: 0,
      get queued() {
        const { events, lifecycle, requests } = state.status.lanes
        return events.queued + requests.queued + lifecycle.queued
      }
    },
    letters: { added: 0, dropped: 0 },
    status: unknown,
    polledAt: 0,
    capacity: noCapacity,
    takesRequests: true,
    dueAt: Infinity,
    nextDue: Infinity,
    ended: [],
    hasEnded: Latch.makeUnsafe(false)
  }
  return state
}

const lanes: ReadonlyArray<Lane> = ["events", "requests", "lifecycle"]

// The shared queue is told of more that can be taken, and of workers that come and go.
const isMore = (capacity: State["capacity"], told: State["capacity"]): boolean =>
  lanes.some((lane) => capacity[lane].credits > told[lane].credits || capacity[lane].workers !== told[lane].workers)

type Enqueued = Exit.Exit<"Queued" | "Duplicate", QueueFullError | NoWorkerError | QueueUnavailableError>

const enqueue = (
  state: State,
  event: Enqueue
): Effect.Effect<"Queued" | "Duplicate", QueueFullError | NoWorkerError | QueueUnavailableError> => {
  const { dedupeKey, deadline, delay, json, lane, origin } = event
  if (lane === "requests" && !state.takesRequests) return noWorker[lane]
  const id = deadline === undefined ? undefined : state.requests.add(event.replyTo, deadline, dedupeKey)
  if (deadline !== undefined) wakeAt(state, deadline)
  const done = Deferred.makeUnsafe<"Queued" | "Duplicate", QueueFullError | NoWorkerError | QueueUnavailableError>()
  const call = Call.Enqueue({
    lane,
    json,
    origin,
    size: sizeOfEvent(event),
    delay: delay === undefined ? 0 : Duration.toMillis(delay),
    dedupeKey,
    timeLeft: deadline === undefined ? undefined : Math.max(0, deadline - state.options.timeline.now()),
    replyTo: id
  })
  state.turns.add(call, (answer, result) => {
    const exit = enqueuedOf(state, lane, answer, result)
    if (id !== undefined && Exit.isFailure(exit)) state.requests.remove(id)
    Deferred.doneUnsafe(done, exit)
  })
  return Deferred.await(done)
}

const enqueuedOf = (
  { counters, options }: State,
  lane: Lane,
  answer: Answer | undefined,
  result: TurnResult | "maybe" | "never"
): Enqueued => {
  if (typeof result === "string") return unavailable[result]
  switch (answer) {
    case "Queued":
      counters.accepted++
      return accepted
    case "Duplicate":
      return duplicate
    case "NoWorker":
      return noWorker[lane]
    default: {
      const { queued, unacked } = result.status.lanes[lane]
      counters.refused++
      options.wake?.()
      return Exit.fail(new QueueFullError({ queued, unacked }))
    }
  }
}

const accepted = Exit.succeed("Queued" as const)
const duplicate = Exit.succeed("Duplicate" as const)

// Made once, since anybody can cause many.
const noWorker: Readonly<Record<Lane, Exit.Exit<never, NoWorkerError>>> = {
  events: Exit.fail(new NoWorkerError({ lane: "events" })),
  requests: Exit.fail(new NoWorkerError({ lane: "requests" })),
  lifecycle: Exit.fail(new NoWorkerError({ lane: "lifecycle" }))
}

const unavailable = {
  never: Exit.fail(new QueueUnavailableError({ maybeQueued: false })),
  maybe: Exit.fail(new QueueUnavailableError({ maybeQueued: true }))
}

const answeredOf = (
  answer: Answer | undefined,
  result: TurnResult | "maybe" | "never"
): Exit.Exit<Answered, QueueUnavailableError> =>
  typeof result === "string" ? unavailable[result] : Exit.succeed({ answer: answer!, status: result.status })

const settle = ({ held, options, turns }: State, events: ReadonlyArray<Queued>, outcome: Outcome): void => {
  const own: Array<Held> = []
  for (const event of events) {
    const one = held.get(event.id)
    if (one !== event) continue
    held.delete(event.id)
    own.push(one)
  }
  if (own.length === 0) return
  const now = turns.timeAt(options.timeline.now())
  if (now !== undefined) measure(options.lags, own, outcome, now)
  turns.settle(own, outcome)
}

// An earlier enqueue of the same event is executed before.
const cancel = (state: State, lane: Lane, dedupeKey: string): Effect.Effect<boolean> => {
  const done = Deferred.makeUnsafe<boolean>()
  state.turns.add(Call.Cancel({ lane, dedupeKey }), (answer) => {
    const isDone = answer === "Done"
    if (isDone && lane === "requests") state.requests.cancel(dedupeKey)
    Deferred.doneUnsafe(done, Exit.succeed(isDone))
  })
  return Deferred.await(done)
}

const receive = (state: State, result: TurnResult, began: number): void => {
  const { claimed, ended, hasAges, responses, status } = result
  const { counters, letters, options, requests } = state
  const now = options.timeline.now()
  if (hasAges) state.polledAt = began
  state.status = hasAges ? status : { ...status, lanes: withAges(status.lanes, state.status.lanes) }
  counters.dropped += status.dropped
  counters.redelivered += status.redelivered
  letters.added += status.lettersAdded
  letters.dropped += status.lettersDropped
  if (status.lettersAdded > 0) options.wake?.()
  state.dueAt = status.dueIn === undefined ? Infinity : now + status.dueIn
  wakeAt(state, state.dueAt)
  for (const { result, to } of responses) requests.respond(to, result)
  if (ended.length > 0) {
    state.ended = ended
    state.hasEnded.openUnsafe()
  }
  deliver(state, claimed, now)
}

const withAges = (lanes: Status["lanes"], before: Status["lanes"]): Status["lanes"] => {
  const laneOf = (lane: Lane) => ({
    ...lanes[lane],
    oldestAge: lanes[lane].queued === 0 ? undefined : before[lane].oldestAge
  })
  return { events: laneOf("events"), requests: laneOf("requests"), lifecycle: laneOf("lifecycle") }
}

const wakeAt = ({ nextDue, options }: State, due: number): void => {
  if (due < nextDue) options.wake?.()
}

// A worker may have left since the node asked for them.
const deliver = (state: State, claimed: TurnResult["claimed"], now: number): void => {
  for (const { size: sizeInQueue, timeLeft, ...claim } of claimed) {
    const size = sizeOfEvent(claim)
    const event = { ...claim, size, sizeInQueue, deadline: timeLeft === undefined ? undefined : now + timeLeft }
    state.held.set(event.id, event)
    if (state.capacity[event.lane].credits > 0) state.options.deliver(event)
    else settle(state, [event], unsent)
  }
}

const unsent = Outcome.Unsent()

const run = (state: State): Effect.Effect<never> =>
  Effect.acquireUseRelease(
    Effect.sync(() => state.shared.onWakeUnsafe(state.turns.need)),
    () => Effect.raceFirst(state.turns.run, supervised("The end of other nodes", Effect.forever(endOthers(state)))),
    (stop) => Effect.sync(stop)
  )

// Whoever finds that a node has ended returns what it had. If that fails, the next poll finds it again.
const endOthers = (state: State): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* state.hasEnded.await
    state.hasEnded.closeUnsafe()
    yield* Effect.forEach(state.ended, (node) => Effect.ignore(state.shared.end(node, true)), { discard: true })
    state.turns.need()
  })

// Otherwise the end of its lease returns what it has.
const leave = ({ held, shared, turns }: State): Effect.Effect<void> =>
  Effect.andThen(
    turns.finish,
    Effect.suspend(() => {
      held.clear()
      return Effect.ignore(shared.end(shared.self, false))
    })
  ).pipe(Effect.timeoutOption(leaveTimeout), Effect.asVoid)
