/**
 * The workers of one vhost and its queue of events.
 *
 * Each event is delivered to one worker, in the order in which events were enqueued: to the least loaded worker with credit
 * left, round robin among equals. While there is no worker, events are queued up to a limit; beyond it they are rejected.
 *
 * Delivery is at least once. An event that is not acked is redelivered, in its old position, when its worker leaves, times
 * out, reconnects or releases it. An event whose handler failed is redelivered after a backoff, until it becomes a dead
 * letter. To a worker that does not ack, as the original's, an event is delivered once.
 *
 * A request is an event with a response, for workers that respond. It fails immediately if there is none, waits no longer than
 * its deadline, and has one result. It is redelivered as other events are if its worker leaves, and fails if its handler does.
 *
 * Changes of events are recorded in the journal. If the broker has a store, the next broker restores the events that were not
 * acked, with their order and their ids.
 *
 * Lifecycle events are delivered only to workers that take them, in order with other events. They are queued once such a
 * worker has registered, until none was registered for `lifecycleRetention`. Beyond the limit the oldest are dropped and
 * counted. They are never persisted, because they are about browsers of this process.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import type { InternalError, NoWorkerError } from "../../protocol/KosmonautError.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Worker } from "../domain/Worker.ts"
import { type Enqueue, type Lane, type LaneInfo, Outcome, type Queued } from "./EventQueue.ts"
import * as Dispatcher from "./internal/dispatcher.ts"
import type { Cancel, Outcomes, Request } from "./internal/requests.ts"
import type { Member } from "./internal/workers.ts"

export type { Worker } from "../domain/Worker.ts"
export type { Cancel, Outcomes, Request } from "./internal/requests.ts"

/**
 * The lobby of one vhost.
 *
 * @since 0.1.0
 */
export interface Lobby {
  /**
   * Registers a worker that is ready, or updates it, and sends it a heartbeat. A worker with the same id on another connection
   * replaces the old one, whose unacked events are requeued. A worker that does not ack gets events only after its first
   * heartbeat, or after the next tick.
   */
  readonly register: (worker: Worker) => Effect.Effect<void>
  /** A worker has sent a heartbeat; it is sent one back. `false` if no such worker is registered (on this connection). */
  readonly heartbeat: (id: string, connection?: unknown) => Effect.Effect<boolean>
  /** A worker acks events. Acks for deliveries that it does not hold on this connection are ignored. */
  readonly ackUnsafe: (id: string, connection: unknown, deliveries: ReadonlyArray<string>) => void
  /** A worker nacks an event for a reason, or releases it if `reason` is empty. Ignored in the same cases. */
  readonly nackUnsafe: (id: string, connection: unknown, delivery: string, reason: string) => void
  /**
   * A worker has handled a request, and this is the JSON of what the handler returned (`ok`) or of its declared error. Acks an
   * event that is no request. Ignored in the same cases.
   */
  readonly respondUnsafe: (
    id: string,
    connection: unknown,
    delivery: string,
    outcome: "ok" | "error",
    json: string
  ) => void
  /** Removes a worker; if `connection` is given, only if it is registered on that one. */
  readonly leave: (id: string, connection?: unknown) => Effect.Effect<void>
  /**
   * Delivers or queues an event, the text of `{"<event>": {…}}`. `origin` is the text of its origin. Fails if the queue is
   * full, if the event is too large for a worker, or if it is a lifecycle event and no worker takes them. Does nothing if an
   * event with the same `dedupeKey` is queued or in flight.
   */
  readonly enqueue: (
    json: string,
    origin?: string,
    options?: Pick<Enqueue, "delay" | "dedupeKey">
  ) => Effect.Effect<void, InternalError>
  /**
   * Delivers or queues a request. Fails if no worker takes requests, or as `enqueue` does. It acts when it is called; the effect waits
   * until it is queued, or is an `Exit`.
   */
  readonly request: (request: Request) => Effect.Effect<Cancel, NoWorkerError | InternalError>
  /** Delivers or queues a lifecycle event; ignored if no worker takes them. */
  readonly emitUnsafe: (event: Event) => void
  /**
   * Call this every `heartbeatInterval` while `isActive`: it sends heartbeats and dismisses workers that timed out. However
   * late a tick is, it counts as one interval, so that no worker times out because this process was paused.
   */
  readonly tick: Effect.Effect<void>
  /** Whether ticks are needed: workers are registered, or lifecycle events are queued. */
  readonly isActive: () => boolean
  /**
   * Redelivers events whose backoff has ended, and ends requests whose deadline has passed. Call this at `nextDue`; every tick
   * does it, too.
   */
  readonly redeliver: Effect.Effect<void>
  /** When the next backoff, delay or deadline ends, in monotonic milliseconds. */
  readonly nextDue: () => number | undefined
  /** Ends all requests as failed for this reason, and takes none from now on. */
  readonly endRequestsUnsafe: (reason: string) => void
  /** Dismisses all workers. */
  readonly dismissAll: Effect.Effect<void>
  /** Dismisses the workers for which this holds. */
  readonly dismissWhere: (isMine: (worker: Worker) => boolean) => Effect.Effect<void>
  /** How many events are queued, without lifecycle events, and the workers, by the uuids of their identities. */
  readonly info: Effect.Effect<LobbyInfo>
  /** The workers, in the order of their registration. */
  readonly workers: Effect.Effect<ReadonlyArray<WorkerInfo>>
  /** What each lane has now. */
  readonly lanes: Effect.Effect<Readonly<Record<Lane, LaneInfo>>>
  /** Counters since the start, and current numbers. */
  readonly counters: LobbyCounters
  /** How requests have ended since the start, and why the last one failed whose handler failed or that was lost too often. */
  readonly requests: { readonly counted: Outcomes; readonly lastFailure: () => string }
}

/**
 * The state of a lobby for an administrator.
 *
 * @since 0.1.0
 */
export interface LobbyInfo {
  readonly queued: number
  readonly workers: ReadonlyArray<string>
}

/**
 * A worker, for an administrator.
 *
 * @since 0.1.0
 */
export interface WorkerInfo {
  /** The uuid of its identity. */
  readonly id: string
  /** The same object for as long as it is registered on its connection. */
  readonly registration: object
  /** For how many milliseconds it has been registered, without those in which the process stood still. */
  readonly age: number
  /** How many events it holds unacked. */
  readonly unacked: number
  /** How many it wants at most, `undefined` for one that does not ack. */
  readonly prefetch: number | undefined
  /** Whether it takes requests, and lifecycle events. */
  readonly responses: boolean
  readonly lifecycle: boolean
}

/**
 * Counters of a lobby since its start, and current numbers.
 *
 * @since 0.1.0
 */
export interface LobbyCounters {
  /** Events that were accepted, lifecycle events included. */
  readonly accepted: number
  /** Deliveries that were sent to workers. */
  readonly delivered: number
  /** Events that were rejected because the queue was full. */
  readonly refused: number
  /** Lifecycle events that were dropped: the queue was full, no worker took them in time, or they were too large. */
  readonly dropped: number
  /** Events that were acked. */
  readonly acknowledged: number
  /** Events that were requeued after they had been delivered. */
  readonly redelivered: number
  /** Events that are delivered and not acked now. */
  readonly unacknowledged: number
  /** Events that are queued now, lifecycle events included. */
  readonly queued: number
  /** For how many milliseconds the oldest of those that come next in their lanes has been queued, 0 if none is. */
  readonly oldestAge: number
  /** Workers that are registered now. */
  readonly workers: number
}

/**
 * Makes a vhost's lobby, with the restored events in its queue.
 *
 * @since 0.1.0
 */
export const make = (options: Dispatcher.LocalOptions): Lobby => makeWith(options, Dispatcher.localQueue(options))

/**
 * Makes a vhost's lobby on a queue.
 *
 * @since 0.1.0
 */
export const makeWith = (options: Dispatcher.Options, makeQueue: Dispatcher.MakeQueue): Lobby => {
  const state = Dispatcher.make(options, makeQueue)
  const { queue, workers } = state
  const { find } = workers
  return {
    register: (worker) => Effect.sync(() => Dispatcher.register(state, worker)),
    heartbeat: (id, connection) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member !== undefined) Dispatcher.receiveHeartbeat(state, member)
        return member !== undefined
      }),
    ackUnsafe: (id, connection, deliveries) => settle(state, find(id, connection), deliveries, Dispatcher.acked),
    nackUnsafe: (id, connection, delivery, reason) => {
      const member = find(id, connection)
      const maxAttempts = member?.worker.maxAttempts ?? 1
      const outcome = reason === "" ? Dispatcher.released : Outcome.Nacked({ reason, maxAttempts })
      settle(state, member, [delivery], outcome)
    },
    respondUnsafe: (id, connection, delivery, outcome, json) =>
      settle(state, find(id, connection), [delivery], { _tag: "Responded", outcome, json }),
    leave: (id, connection) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member !== undefined) Dispatcher.remove(state, [member], Dispatcher.lost)
      }),
    enqueue: (json, origin, options) => Effect.suspend(() => Dispatcher.enqueue(state, json, origin, options)),
    request: state.requests.enqueue,
    emitUnsafe: (event) => Dispatcher.emit(state, event),
    tick: Effect.suspend(() => Dispatcher.expire(state)),
    isActive: () => workers.size > 0 || queue.isAttended() || queue.queuedIn("lifecycle") > 0,
    redeliver: Effect.sync(queue.requeueDue),
    nextDue: queue.nextDue,
    endRequestsUnsafe: queue.endRequests,
    dismissAll: Effect.suspend(() => Dispatcher.dismiss(state, [...workers.all()], Dispatcher.dismissed)),
    dismissWhere: (isMine) =>
      Effect.suspend(() =>
        Dispatcher.dismiss(state, [...workers.all()].filter(({ worker }) => isMine(worker)), Dispatcher.dismissed)
      ),
    info: Effect.sync(() => ({
      queued: queue.queuedIn("events"),
      workers: Array.from(workers.all(), ({ worker }) => Dispatcher.publicName(worker.id))
    })),
    workers: Effect.sync(() => Array.from(workers.all(), (member) => workerOf(state, member))),
    lanes: Effect.sync(() => ({
      events: queue.infoOf("events"),
      requests: queue.infoOf("requests"),
      lifecycle: queue.infoOf("lifecycle")
    })),
    counters: countersOf(state),
    requests: state.requests
  }
}

const workerOf = ({ timeline }: Dispatcher.State, member: Member): WorkerInfo => {
  const { registeredAt, unacked, worker } = member
  return {
    id: Dispatcher.publicName(worker.id),
    registration: member,
    age: timeline.lived() - registeredAt,
    unacked: unacked.size,
    prefetch: worker.prefetch,
    responses: worker.responses === true && worker.prefetch !== undefined,
    lifecycle: worker.lifecycle
  }
}

// Ends deliveries of a worker, if it is registered and holds them.
const settle = (
  state: Dispatcher.State,
  member: Member | undefined,
  deliveries: ReadonlyArray<string>,
  outcome: Outcome
): void => {
  if (member === undefined) return
  const { counted, workers } = state
  const events: Array<Queued> = []
  for (const delivery of deliveries) {
    const event = workers.release(member, delivery)
    if (event !== undefined) events.push(event)
  }
  if (outcome._tag === "Acked" || outcome._tag === "Responded") counted.acknowledged += events.length
  Dispatcher.settle(state, member, events, outcome)
}

const lanes = ["events", "requests", "lifecycle"] as const

const countersOf = ({ counted, queue, workers }: Dispatcher.State): LobbyCounters => ({
  get accepted() {
    return queue.counters.accepted
  },
  get delivered() {
    return counted.delivered
  },
  get refused() {
    return queue.counters.refused
  },
  get dropped() {
    return queue.counters.dropped + counted.tooLarge
  },
  get acknowledged() {
    return counted.acknowledged
  },
  get redelivered() {
    return queue.counters.redelivered
  },
  get unacknowledged() {
    return workers.unacked
  },
  get queued() {
    return queue.counters.queued
  },
  get oldestAge() {
    return Math.max(...lanes.map((lane) => queue.infoOf(lane).oldestAge ?? 0))
  },
  get workers() {
    return workers.size
  }
})
