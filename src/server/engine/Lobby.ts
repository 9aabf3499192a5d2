/**
 * The workers of one vhost and the events that wait for them.
 *
 * Every event goes to one worker, in the order of the triggers: to the least loaded with credit left, round robin over
 * equals. While no worker is there events are queued, up to a limit; beyond it a trigger is refused.
 *
 * Delivery is at least once. An event that a worker has not acked is redelivered at its old place when the worker leaves,
 * times out, connects anew or releases it; one whose handler failed is redelivered after a backoff, until it becomes a dead
 * letter. To a worker that does not ack, as the original's, an event is delivered once.
 *
 * What becomes of events is recorded in the journal. If the broker has a store, the lobby of the next broker begins with
 * those that were not acked, in their old order and with their old ids.
 *
 * Lifecycle events go only to workers that take them, in order with the others. They are queued from the coming of the first
 * such worker until none has been there for `lifecycleRetention`; beyond the limit the oldest are dropped, and counted. They
 * are never stored: they tell of browsers that the next broker does not have.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import type { InternalError } from "../../protocol/KosmonautError.ts"
import type { Event } from "../../protocol/Trigger.ts"
import type { Worker } from "../domain/Worker.ts"
import { Outcome, type Queued } from "./EventQueue.ts"
import * as Dispatcher from "./internal/dispatcher.ts"

export type { Worker } from "../domain/Worker.ts"

/**
 * The lobby of one vhost.
 *
 * @since 0.1.0
 */
export interface Lobby {
  /**
   * A worker is ready, and is sent a heartbeat. If it is known it goes on; the same id on another connection takes its place,
   * and what was unacked on the old one is requeued. A worker that does not ack is given events after its
   * first heartbeat, or after a pause in which it has read the broker's.
   */
  readonly join: (worker: Worker) => Effect.Effect<void>
  /** A heartbeat was received, and is answered with one. `false` says that no such worker is known (on this connection). */
  readonly heard: (id: string, connection?: unknown) => Effect.Effect<boolean>
  /** A worker acks events. Ignored for deliveries that it does not hold on this connection. */
  readonly acknowledge: (id: string, connection: unknown, deliveries: ReadonlyArray<string>) => Effect.Effect<void>
  /** A worker nacks an event for a reason, or releases it if `reason` is empty. Ignored likewise. */
  readonly giveBack: (id: string, connection: unknown, delivery: string, reason: string) => Effect.Effect<void>
  /** A worker leaves; if `connection` is given, only if it is still on that one. */
  readonly leave: (id: string, connection?: unknown) => Effect.Effect<void>
  /**
   * Delivers or queues an event, the text of `{"<event>": {…}}`. `origin` is the text of its origin. Fails if too many events
   * wait, if it is too large for a worker, or if it is a lifecycle event and no worker is there that takes them.
   */
  readonly trigger: (json: string, origin?: string) => Effect.Effect<void, InternalError>
  /** Delivers or queues a lifecycle event; ignored if no worker takes them. */
  readonly announceUnsafe: (event: Event) => void
  /**
   * To be called every `heartbeatInterval` while `isActive`: sends heartbeats, dismisses workers that timed out. A worker
   * times out by the intervals that this process has lived through: however late a tick is, it counts for one interval.
   */
  readonly tick: Effect.Effect<void>
  /** Whether ticks are needed: workers are there, or lifecycle events are queued. */
  readonly isActive: () => boolean
  /** Redelivers what has waited for its backoff. To be called at `nextDue`, and part of every tick. */
  readonly redeliver: Effect.Effect<void>
  /** When the next backoff ends, in monotonic milliseconds. */
  readonly nextDue: () => number | undefined
  /** Dismisses all workers. */
  readonly dismissAll: Effect.Effect<void>
  /** Dismisses the workers for which this holds. */
  readonly dismissWhere: (isMine: (worker: Worker) => boolean) => Effect.Effect<void>
  /** How many events wait, without lifecycle events, and who is there, by the uuids of their identities. */
  readonly info: Effect.Effect<LobbyInfo>
  /** What has been counted since the start. */
  readonly counters: LobbyCounters
}

/**
 * A lobby as an administrator sees it.
 *
 * @since 0.1.0
 */
export interface LobbyInfo {
  readonly waiting: number
  readonly workers: ReadonlyArray<string>
}

/**
 * What a lobby has counted, and has now.
 *
 * @since 0.1.0
 */
export interface LobbyCounters {
  /** Events that were accepted, lifecycle events too. */
  readonly accepted: number
  /** Deliveries that were handed to a worker's connection. */
  readonly delivered: number
  /** Triggers that were refused because too many events wait. */
  readonly refused: number
  /** Lifecycle events that were dropped: too many waited, nobody came for them, or they were too large for a worker. */
  readonly dropped: number
  /** Events that were acked. */
  readonly acknowledged: number
  /** Events that were requeued after they had been delivered. */
  readonly redelivered: number
  /** Events that are delivered and not acked, now. */
  readonly unacknowledged: number
  /** Events that wait, lifecycle events too, now. */
  readonly waiting: number
  /** Workers, now. */
  readonly workers: number
}

/**
 * Makes a vhost's lobby, with the events in it that an earlier one has stored.
 *
 * @since 0.1.0
 */
export const make = (options: Dispatcher.Options): Lobby => {
  const state = Dispatcher.begin(options)
  const { queue, workers } = state
  const { find } = workers
  return {
    join: (worker) => Effect.sync(() => Dispatcher.join(state, worker)),
    heard: (id, connection) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member !== undefined) Dispatcher.hear(state, member)
        return member !== undefined
      }),
    acknowledge: (id, connection, deliveries) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member === undefined) return
        const events: Array<Queued> = []
        for (const delivery of deliveries) {
          const event = workers.release(member, delivery)
          if (event !== undefined) events.push(event)
        }
        state.counted.acknowledged += events.length
        Dispatcher.settle(state, member, events, Dispatcher.acked)
      }),
    giveBack: (id, connection, delivery, reason) =>
      Effect.sync(() => {
        const member = find(id, connection)
        const event = member && workers.release(member, delivery)
        if (event === undefined) return
        const { maxAttempts } = member!.worker
        Dispatcher.settle(
          state,
          member!,
          [event],
          reason === "" ? Dispatcher.released : Outcome.Nacked({ reason, maxAttempts })
        )
      }),
    leave: (id, connection) =>
      Effect.sync(() => {
        const member = find(id, connection)
        if (member !== undefined) Dispatcher.remove(state, [member], Dispatcher.lost)
      }),
    trigger: (json, origin) => Effect.suspend(() => Dispatcher.trigger(state, json, origin)),
    announceUnsafe: (event) => Dispatcher.announce(state, event),
    tick: Effect.suspend(() => Dispatcher.expire(state)),
    isActive: () => workers.size > 0 || queue.isAttended() || queue.waitingIn("lifecycle") > 0,
    redeliver: Effect.sync(queue.requeueDue),
    nextDue: queue.nextDue,
    dismissAll: Effect.suspend(() => Dispatcher.dismiss(state, [...workers.all()], Dispatcher.dismissed)),
    dismissWhere: (isMine) =>
      Effect.suspend(() =>
        Dispatcher.dismiss(state, [...workers.all()].filter(({ worker }) => isMine(worker)), Dispatcher.dismissed)
      ),
    info: Effect.sync(() => ({
      waiting: queue.waitingIn("events"),
      workers: Array.from(workers.all(), ({ worker }) => Dispatcher.publicName(worker.id))
    })),
    counters: countersOf(state)
  }
}

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
  get waiting() {
    return queue.counters.waiting
  },
  get workers() {
    return workers.size
  }
})
