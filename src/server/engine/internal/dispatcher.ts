/**
 * Dispatches a vhost's events to its workers. Each function changes the queue and the registry of workers in one synchronous
 * step, and then delivers as many events as the workers have credit for.
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { envelopeSize } from "../../../protocol/Frame.ts"
import type { InternalError } from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import { type Event, withRequest } from "../../../protocol/Trigger.ts"
import type { Worker } from "../../domain/Worker.ts"
import {
  type Enqueue,
  type EventQueue,
  type NoWorkerError,
  type Options as QueueOptions,
  Outcome,
  type Queued,
  type QueueFullError,
  type QueueUnavailableError
} from "../EventQueue.ts"
import * as Pending from "../Pending.ts"
import * as LocalQueue from "./localQueue.ts"
import { noLifecycleWorker, notQueued, tooLarge } from "./refusal.ts"
import * as Requests from "./requests.ts"
import * as Timeline from "./timeline.ts"
import * as Workers from "./workers.ts"

/** The options of a lobby, whatever its queue is. */
export interface Options {
  readonly heartbeatInterval: Duration.Duration
  readonly missedHeartbeats: number
  /** The largest message of a worker's connection, in bytes. */
  readonly maxMessageSize: number
  readonly clock: Clock.Clock
  /** Called when `isActive` becomes true, when `nextDue` is earlier than before, and when an event is rejected. */
  readonly wake?: (() => void) | undefined
  /**
   * Called with what a worker's `deliverUnsafe` threw, whose event then counts as not sent, and with what a request's
   * `respondUnsafe` threw.
   */
  readonly onDefect?: ((defect: unknown) => void) | undefined
}

/** The options of the lobby of a single broker. */
export type LocalOptions =
  & Options
  & Omit<Parameters<typeof LocalQueue.make>[0], "timeline" | "deliver" | "respond">

/** Makes the queue that delivers to a lobby's workers. */
export type MakeQueue = (given: Pick<QueueOptions, "timeline" | "deliver" | "respond" | "wake">) => EventQueue

/** Makes the queue of a single broker. */
export const localQueue = (options: LocalOptions): MakeQueue => (given) => LocalQueue.make({ ...options, ...given })

/** The queue, the workers and the counters of a lobby. */
export interface State {
  readonly options: Options
  readonly queue: EventQueue
  readonly workers: Workers.Workers
  readonly timeline: Timeline.Timeline
  readonly counted: { delivered: number; acknowledged: number; tooLarge: number }
  readonly requests: Requests.Requests
  /** The largest event that a worker's connection carries. */
  readonly largest: number
  /** In milliseconds. */
  readonly interval: number
}

/** The worker has handled the event. */
export const acked = Outcome.Acked()
/** The worker returns the event unhandled. */
export const released = Outcome.Released()
/** The worker is gone, and it is unknown whether it handled the event. */
export const lost = Outcome.Lost({ isCounted: true })
/** The broker itself ended the delivery, so the loss does not count against the event. */
export const dismissed = Outcome.Lost({ isCounted: false })
const unsent = Outcome.Unsent()

/** Makes the queue and the registry of workers. */
export const make = (options: Options, makeQueue: MakeQueue): State => {
  const interval = Duration.toMillis(options.heartbeatInterval)
  const timeline = Timeline.make(options.clock, interval)
  const state: State = {
    options,
    timeline,
    interval,
    largest: options.maxMessageSize - envelopeSize,
    workers: Workers.make(),
    counted: { delivered: 0, acknowledged: 0, tooLarge: 0 },
    requests: Requests.make(() => state.queue, timeline, options.maxMessageSize - envelopeSize),
    queue: makeQueue({
      timeline,
      wake: options.wake,
      deliver: (event) => deliver(state, event),
      respond: (replyTo, result) => {
        const passed = Result.try(() => state.requests.respondUnsafe(replyTo, result))
        if (Result.isFailure(passed)) options.onDefect?.(passed.failure)
      }
    })
  }
  return state
}

const deliver = (state: State, event: Queued): void => {
  const { options, queue, workers } = state
  const member = workers.next(event.lane)
  // The queue delivers within the capacity only, so there is always a worker.
  if (member === undefined) return queue.settle([event], unsent)
  const { worker } = member
  const { attempts, id, json } = event
  const origin = event.deadline === undefined
    ? event.origin
    : withRequest(event.origin, timeLeft(state, event.deadline))
  const acks = worker.prefetch !== undefined
  if (acks) workers.hold(member, event)
  member.unsettled++
  workers.refresh(member)
  const settled = (delivered: boolean) => {
    if (acks && delivered) {
      member.unsettled--
      state.counted.delivered++
      // It has registered again without acks since then, and has credit for what was sent.
      if (member.worker.prefetch === undefined) {
        workers.refresh(member)
        queue.grant(workers.capacity)
      }
      return
    }
    if (acks) requeueUnsent(state, member, event, attempts)
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

const timeLeft = ({ timeline }: State, deadline: number): number => Math.max(0, Math.floor(deadline - timeline.now()))

// If the worker no longer holds it in this attempt, it was already requeued.
const requeueUnsent = (
  { queue, workers }: State,
  member: Workers.Member,
  event: Queued,
  attempt: number
): void => {
  if (member.unacked.get(event.id) !== event || event.attempts !== attempt) return
  workers.release(member, event.id)
  queue.settle([event], unsent)
}

/** Ends deliveries of a worker. */
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

/** Removes workers at once, so that an event of one of them is not redelivered to another that leaves, too. */
export const remove = ({ queue, workers }: State, leaving: ReadonlyArray<Workers.Member>, outcome: Outcome): void => {
  queue.settle(workers.remove(leaving), outcome)
  queue.grant(workers.capacity)
}

/** Registers a worker, or updates it. */
export const register = (state: State, worker: Worker): void => {
  const { options, queue, timeline, workers } = state
  const known = workers.find(worker.id, worker.connection)
  if (known !== undefined) {
    known.worker = worker
    known.heartbeatReceivedAt = timeline.lived()
    known.isReady = known.isReady || !known.isNew || worker.prefetch !== undefined
    sendHeartbeat(state, known)
    workers.refresh(known)
  } else {
    // Without workers there were no ticks.
    if (workers.size === 0) timeline.tick()
    const { member, replaced } = workers.add(worker, timeline.lived())
    if (replaced !== undefined) queue.settle(workers.remove([replaced]), lost)
    sendHeartbeat(state, member)
    options.wake?.()
  }
  queue.grant(workers.capacity)
}

/** A worker has sent a heartbeat. */
export const receiveHeartbeat = (state: State, member: Workers.Member): void => {
  const { queue, timeline, workers } = state
  member.heartbeatReceivedAt = timeline.lived()
  // The first one was answered when the worker registered.
  if (!awaitsFirstHeartbeat(member)) sendHeartbeat(state, member)
  setReady(state, member)
  queue.grant(workers.capacity)
}

const sendHeartbeat = ({ timeline }: State, member: Workers.Member): void => {
  member.heartbeatSentAt = timeline.lived()
  member.worker.heartbeatUnsafe()
}

/** Enqueues an event of a browser or a backend, or a dead letter that is replayed. */
export const enqueue = (
  { largest, queue, workers }: State,
  json: string,
  origin: string | undefined,
  options: Pick<Enqueue, "delay" | "dedupeKey"> | undefined
): Effect.Effect<void, InternalError> => {
  const error = tooLarge(json, origin, 0, largest)
  if (error !== undefined) return Exit.fail(error)
  const lane = Lifecycle.isIn(json) ? "lifecycle" : "events"
  if (lane === "lifecycle" && workers.capacity.lifecycle.workers === 0) return Exit.fail(noLifecycleWorker)
  const enqueued = queue.enqueue(options === undefined ? { lane, json, origin } : { lane, json, origin, ...options })
  return Pending.isDone(enqueued) && Exit.isSuccess(enqueued)
    ? Exit.void
    : Effect.mapError(Effect.asVoid(enqueued), toStatusError)
}

const toStatusError = (error: QueueFullError | NoWorkerError | QueueUnavailableError): InternalError =>
  error._tag === "NoWorkerError" ? noLifecycleWorker : notQueued(error)

/** Enqueues a lifecycle event if workers take them, and returns whether it did. */
export const emit = ({ counted, largest, queue }: State, { data, event }: Event): boolean => {
  if (!queue.isAttended()) return false
  const json = JSON.stringify({ [event]: data })
  if (tooLarge(json, undefined, 0, largest) !== undefined) {
    counted.tooLarge++
    return false
  }
  const enqueued = queue.enqueue({ lane: "lifecycle", json })
  return Pending.isDone(enqueued) && Exit.isSuccess(enqueued)
}

// Requeues due events, sends heartbeats, and returns the workers that have timed out.
const tick = (state: State): ReadonlyArray<Workers.Member> => {
  const { interval, options, queue, timeline, workers } = state
  timeline.tick()
  queue.requeueDue()
  queue.dropUnattended()
  const now = timeline.lived()
  const dead: Array<Workers.Member> = []
  for (const member of workers.all()) {
    if (now - member.heartbeatReceivedAt > interval * options.missedHeartbeats) dead.push(member)
    // A worker that sent a heartbeat has already got one.
    else if (now - member.heartbeatSentAt < interval / 2) continue
    else if (awaitsFirstHeartbeat(member)) setReady(state, member)
    else sendHeartbeat(state, member)
  }
  queue.grant(workers.capacity)
  return dead
}

// The original's worker takes what arrives together with the broker's first heartbeat for a part of it. After its own first
// heartbeat, or after a tick, it must have read that heartbeat.
const awaitsFirstHeartbeat = ({ isNew, worker }: Workers.Member): boolean => isNew && worker.prefetch === undefined

const setReady = ({ workers }: State, member: Workers.Member): void => {
  member.isNew = false
  member.isReady = true
  workers.refresh(member)
}

/** Removes workers and sends `QT` to them, concurrently, so that no worker waits for another. */
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

/** Dismisses workers that timed out. They may not read any more, so this takes no longer than until the next tick. */
export const expire = (state: State): Effect.Effect<void> => {
  const dead = tick(state)
  return dead.length === 0
    ? Effect.void
    : Effect.asVoid(Effect.timeoutOption(dismiss(state, dead, lost), state.options.heartbeatInterval))
}

/** The uuid at the end of an identity. The part before it contains the token. */
export const publicName = (id: string): string => id.slice(-36)
