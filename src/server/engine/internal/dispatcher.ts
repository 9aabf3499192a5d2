/**
 * What brings a vhost's events and its workers together: each function changes both in one synchronous step, and then
 * delivers what can be delivered.
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { envelopeSize } from "../../../protocol/Frame.ts"
import { InternalError } from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Worker } from "../../domain/Worker.ts"
import type { DeadLetters } from "../DeadLetters.ts"
import {
  type EventQueue,
  type NoWorkerError,
  Outcome,
  type Queued,
  type QueueFullError,
  sizeOf,
  type StoredEvent
} from "../EventQueue.ts"
import type * as Journal from "../Journal.ts"
import * as LocalQueue from "./localQueue.ts"
import * as Timeline from "./timeline.ts"
import * as Workers from "./workers.ts"

/** What a lobby is made with. */
export interface Options {
  readonly queueCapacity: number
  readonly queueSize: number
  readonly maxDeliveries: number
  readonly redeliveryBackoff: Duration.Duration
  readonly heartbeatInterval: Duration.Duration
  readonly missedHeartbeats: number
  readonly lifecycleRetention: Duration.Duration
  /** What a worker's connection carries, in bytes. */
  readonly maxMessageSize: number
  /** Where events go that failed for good. */
  readonly deadLetters: DeadLetters
  readonly clock: Clock.Clock
  /** Where it is recorded what becomes of events, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal has recorded earlier, the oldest first. */
  readonly events?: ReadonlyArray<StoredEvent> | undefined
  /** Called when there may be more to do later: `isActive` is true, `nextDue` is earlier, an event was refused. */
  readonly wake?: (() => void) | undefined
  /** Called with what a worker's `deliverUnsafe` has thrown; the event was not sent then. */
  readonly onDefect?: ((defect: unknown) => void) | undefined
}

/** The queue and the workers of a lobby, and what is counted of both. */
export interface State {
  readonly options: Options
  readonly queue: EventQueue
  readonly workers: Workers.Workers
  readonly timeline: Timeline.Timeline
  readonly counted: { delivered: number; acknowledged: number; tooLarge: number }
  /** The largest event that a worker's connection carries. */
  readonly largest: number
  /** In milliseconds. */
  readonly interval: number
}

/** The worker has handled it. */
export const acked = Outcome.Acked()
/** The worker returns it unhandled. */
export const released = Outcome.Released()
/** The worker is gone, and nobody knows what it did with the event. */
export const lost = Outcome.Lost({ isCounted: true })
/** The broker itself has ended the delivery: that is no fault of the event. */
export const dismissed = Outcome.Lost({ isCounted: false })
const unsent = Outcome.Unsent()

/** Makes the queue and the registry of workers. */
export const begin = (options: Options): State => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const timeline = Timeline.make(options.clock, interval)
  const state: State = {
    options,
    timeline,
    interval,
    largest: options.maxMessageSize - envelopeSize,
    workers: Workers.make(),
    counted: { delivered: 0, acknowledged: 0, tooLarge: 0 },
    queue: LocalQueue.make({
      ...options,
      timeline,
      deliver: (event) => deliver(state, event)
    })
  }
  return state
}

const deliver = (state: State, event: Queued): void => {
  const { options, queue, workers } = state
  const member = workers.next(event.lane)
  // Not within the capacity, which does not happen.
  if (member === undefined) return queue.settle([event], unsent)
  const { worker } = member
  const { attempts, id, json, origin } = event
  const acks = worker.prefetch !== undefined
  if (acks) workers.hold(member, event)
  member.unsettled++
  workers.refresh(member)
  const settled = (delivered: boolean) => {
    if (acks && delivered) {
      member.unsettled--
      state.counted.delivered++
      return
    }
    if (acks) returnUnsent(state, member, event, attempts)
    else queue.settle([event], delivered ? acked : unsent)
    member.unsettled--
    if (delivered) state.counted.delivered++
    else member.isReady = false
    workers.refresh(member)
    queue.grant(workers.capacity)
  }
  const sent = Result.try(() =>
    worker.deliverUnsafe(json, origin, settled, acks ? { id, attempt: attempts } : undefined)
  )
  if (Result.isSuccess(sent)) return
  options.onDefect?.(sent.failure)
  settled(false)
}

// If it is not held in this attempt any more, it has been requeued already.
const returnUnsent = (
  { queue, workers }: State,
  member: Workers.Member,
  event: Queued,
  attempt: number
): void => {
  if (member.unacked.get(event.id) !== event || event.attempts !== attempt) return
  workers.release(member, event.id)
  queue.settle([event], unsent)
}

/** Ends deliveries that a worker held until now. */
export const settle = (
  { queue, workers }: State,
  member: Workers.Member,
  events: ReadonlyArray<Queued>,
  outcome: Outcome
): void => {
  queue.settle(events, outcome)
  workers.refresh(member)
  queue.grant(workers.capacity)
}

/** Removes workers, all at once: what one of them held is not for the next. */
export const remove = ({ queue, workers }: State, leaving: ReadonlyArray<Workers.Member>, outcome: Outcome): void => {
  queue.settle(workers.remove(leaving), outcome)
  queue.grant(workers.capacity)
}

/** Registers a worker, or changes what is known of it. */
export const join = (state: State, worker: Worker): void => {
  const { options, queue, timeline, workers } = state
  const known = workers.find(worker.id, worker.connection)
  if (known !== undefined) {
    known.worker = worker
    known.lastHeard = timeline.lived()
    known.isReady = known.isReady || !known.isNew || worker.prefetch !== undefined
    greet(state, known)
    workers.refresh(known)
  } else {
    // Where nobody was there, nothing has ticked.
    if (workers.size === 0) timeline.tick()
    const { member, replaced } = workers.add(worker, timeline.lived())
    if (replaced !== undefined) queue.settle(workers.remove([replaced]), lost)
    greet(state, member)
    options.wake?.()
  }
  queue.grant(workers.capacity)
}

/** A worker has sent a heartbeat. */
export const hear = (state: State, member: Workers.Member): void => {
  const { queue, timeline, workers } = state
  member.lastHeard = timeline.lived()
  // The first has been answered before, when the worker joined.
  if (!isWaitingForFirst(member)) greet(state, member)
  ready(state, member)
  queue.grant(workers.capacity)
}

const greet = ({ timeline }: State, member: Workers.Member): void => {
  member.lastGreeted = timeline.lived()
  member.worker.heartbeatUnsafe()
}

/** Enqueues an event of a browser, or one that was a dead letter. */
export const trigger = (
  { largest, queue, workers }: State,
  json: string,
  origin: string | undefined
): Effect.Effect<void, InternalError> => {
  const size = sizeOf(json, origin)
  if (size > largest) {
    return Exit.fail(new InternalError({ detail: `the event has ${size} bytes, the most is ${largest}` }))
  }
  const lane = Lifecycle.isIn(json) ? "lifecycle" : "events"
  if (lane === "lifecycle" && workers.capacity.lifecycle.workers === 0) return Exit.fail(noTaker)
  const enqueued = queue.enqueue({ lane, json, origin })
  return Exit.isExit(enqueued) && Exit.isSuccess(enqueued)
    ? Exit.void
    : Effect.mapError(Effect.asVoid(enqueued), asStatus)
}

const noTaker = new InternalError({ detail: "no worker is there that takes lifecycle events" })

const asStatus = (error: QueueFullError | NoWorkerError): InternalError =>
  error._tag === "NoWorkerError" ? noTaker : new InternalError({
    detail: `the queue is full: ${error.queued} events wait for a worker, and ${error.unacked} are unacknowledged`
  })

/** Enqueues a lifecycle event if anybody takes them, and says whether. */
export const announce = ({ counted, largest, queue }: State, { data, event }: Event): boolean => {
  if (!queue.isAttended()) return false
  const json = JSON.stringify({ [event]: data })
  if (sizeOf(json, undefined) > largest) {
    counted.tooLarge++
    return false
  }
  const enqueued = queue.enqueue({ lane: "lifecycle", json })
  return Exit.isExit(enqueued) && Exit.isSuccess(enqueued)
}

// Does what is due, and gives the workers that have timed out.
const tick = (state: State): ReadonlyArray<Workers.Member> => {
  const { interval, options, queue, timeline, workers } = state
  timeline.tick()
  queue.requeueDue()
  queue.dropUnattended()
  const now = timeline.lived()
  const dead: Array<Workers.Member> = []
  for (const member of workers.all()) {
    if (now - member.lastHeard > interval * options.missedHeartbeats) dead.push(member)
    // One that sends heartbeats itself has been answered, and needs nothing more.
    else if (now - member.lastGreeted < interval / 2) continue
    else if (isWaitingForFirst(member)) ready(state, member)
    else greet(state, member)
  }
  queue.grant(workers.capacity)
  return dead
}

// The original's worker reads what comes together with a heartbeat as part of it. Its first one, or a pause, says that it has
// read the broker's.
const isWaitingForFirst = ({ isNew, worker }: Workers.Member): boolean => isNew && worker.prefetch === undefined

const ready = ({ workers }: State, member: Workers.Member): void => {
  member.isNew = false
  member.isReady = true
  workers.refresh(member)
}

/** Removes workers and tells them so: all at once, and none is kept waiting by another. */
export const dismiss = (
  state: State,
  leaving: ReadonlyArray<Workers.Member>,
  outcome: Outcome
): Effect.Effect<void> => {
  if (leaving.length === 0) return Effect.void
  remove(state, leaving, outcome)
  return Effect.forEach(leaving, ({ worker }) => guarded(worker.dismiss), { concurrency: "unbounded", discard: true })
}

const guarded = (dismiss: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchDefect(dismiss, (defect) => Effect.logError("A worker could not be dismissed", defect))

/** Dismisses those that have timed out. They may not read any more, and are waited for no longer than until the next tick. */
export const expire = (state: State): Effect.Effect<void> => {
  const dead = tick(state)
  return dead.length === 0
    ? Effect.void
    : Effect.asVoid(Effect.timeoutOption(dismiss(state, dead, lost), state.options.heartbeatInterval))
}

/** The end of an identity, its uuid: what stands before it holds the token. */
export const publicName = (id: string): string => id.slice(-36)
