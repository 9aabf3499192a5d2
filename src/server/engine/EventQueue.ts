/**
 * The events of one vhost that wait for a worker or are unacked, in lanes: events of browsers, requests, lifecycle events.
 *
 * Events are delivered in the order of their numbers, over all lanes, as far as workers take the lane. An event that is
 * requeued goes back to its old place. One whose handler failed, or that was released more than once, waits a backoff first,
 * and others pass it meanwhile. An event that failed too often, or whose deliveries ended too often without a word, becomes a
 * dead letter in the same step: it is always in exactly one place.
 *
 * All of them count for the limits of their lane: queued, waiting for their backoff, unacked. Beyond the limits an event is
 * refused; in the lane of lifecycle events the oldest is dropped instead. Unacked events beyond the limits are only given to
 * workers that hold none.
 *
 * Locally each operation is one synchronous step, and `enqueue` and `grant` deliver before they return.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { byteLength } from "../../protocol/Frame.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import type { Timeline } from "./internal/timeline.ts"
import type * as Journal from "./Journal.ts"

/**
 * Which workers take an event: `events` all of them, `requests` those that respond, `lifecycle` those that asked for
 * lifecycle events.
 *
 * @since 0.1.0
 */
export type Lane = "events" | "requests" | "lifecycle"

/**
 * What the workers of a lane can take now.
 *
 * @since 0.1.0
 */
export interface Capacity {
  /** How many workers take it at all. */
  workers: number
  /** How many more events they can be given. */
  credits: number
  /** How many of them have credit left and hold no event. */
  idle: number
}

/**
 * An event to enqueue.
 *
 * @since 0.1.0
 */
export interface Enqueue {
  readonly lane: Lane
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin?: string | undefined
  /** How long it waits before it can be delivered, default not at all. */
  readonly delay?: Duration.Duration | undefined
  /** Until when a response is of use, in monotonic milliseconds. Carried along. */
  readonly deadline?: number | undefined
  /** A second event with the same key is a duplicate, as long as the first has not ended. */
  readonly dedupeKey?: string | undefined
  /** Who wants the response. Carried along. */
  readonly replyTo?: unknown
}

/**
 * An event in the queue. The same object with every delivery.
 *
 * @since 0.1.0
 */
export interface Queued extends Omit<Enqueue, "delay"> {
  /** Its name in the vhost, the same with every delivery and in the next broker. */
  readonly id: string
  /** Its place in the order of all events of the vhost. */
  readonly number: number
  readonly origin: string | undefined
  /** How many bytes `json` and `origin` have together. */
  readonly size: number
  /** How often it was delivered, deliveries that failed not included. */
  readonly attempts: number
}

/**
 * How a delivery ended.
 *
 * @since 0.1.0
 */
export type Outcome = Data.TaggedEnum<{
  /** It was handled, or handed to a worker that does not ack. */
  Acked: {}
  /** It was handled, and this is the response. */
  Responded: { readonly response: unknown }
  /** Its handler failed. With the `maxAttempts`th time the event is a dead letter; before, it waits a backoff. */
  Nacked: { readonly reason: string; readonly maxAttempts: number }
  /** It was returned unhandled. It is redelivered at once the first time, and after a backoff from the second on. */
  Released: {}
  /** The worker never received it. The attempt does not count. */
  Unsent: {}
  /** The delivery ended without a word. `isCounted` unless the broker itself ended it: the `maxDeliveries`th makes a dead letter. */
  Lost: { readonly isCounted: boolean }
}>

/**
 * Constructors and matchers of `Outcome`.
 *
 * @since 0.1.0
 */
export const Outcome = Data.taggedEnum<Outcome>()

/**
 * The lane has no room for the event.
 *
 * @since 0.1.0
 */
export class QueueFullError extends Data.TaggedError("QueueFullError")<{
  readonly queued: number
  readonly unacked: number
}> {}

/**
 * No worker takes the lane, and its events do not wait for one.
 *
 * @since 0.1.0
 */
export class NoWorkerError extends Data.TaggedError("NoWorkerError")<{ readonly lane: Lane }> {}

/**
 * An event that an earlier broker stored.
 *
 * @since 0.1.0
 */
export interface StoredEvent {
  readonly id: string
  readonly json: string
  readonly origin: string | undefined
  /** How often it was delivered. */
  readonly attempts: number
  /** How often its handler failed. */
  readonly failures: number
  /** How often its delivery ended without a word. */
  readonly losses: number
}

/**
 * The events of one vhost.
 *
 * @since 0.1.0
 */
export interface EventQueue {
  /** Enqueues an event, and delivers it if it can be. Where requests and lifecycle events have no worker they do not wait. */
  readonly enqueue: (event: Enqueue) => Effect.Effect<"Queued" | "Duplicate", QueueFullError | NoWorkerError>
  /** Says what workers can take now, in total. Delivers within the call. `capacity` is looked at again with every delivery. */
  readonly grant: (capacity: Readonly<Record<Lane, Capacity>>) => void
  /** Ends deliveries; ignored for what is not delivered. What is requeued is delivered with the next `grant`. */
  readonly settle: (events: ReadonlyArray<Queued>, outcome: Outcome) => void
  /** Removes the event of this `dedupeKey` if it is not delivered; `false` if it is, or if there is none. */
  readonly cancel: (dedupeKey: string) => boolean
  /** Requeues what has waited for its backoff or delay, and delivers it. */
  readonly requeueDue: () => void
  /** When the next of these is due, in monotonic milliseconds. */
  readonly nextDue: () => number | undefined
  /** Drops lifecycle events if no worker has taken any for `lifecycleRetention` of lived time. */
  readonly dropUnattended: () => void
  /** Whether lifecycle events are queued now: a worker takes them, or did within `lifecycleRetention`. */
  readonly isAttended: () => boolean
  /** What has been counted since the start; `waiting` is now. */
  readonly counters: {
    readonly accepted: number
    readonly refused: number
    readonly dropped: number
    readonly redelivered: number
    readonly waiting: number
  }
  /** How many events of a lane wait for a worker or a backoff now. */
  readonly waitingIn: (lane: Lane) => number
}

/**
 * What a queue is made with.
 *
 * @since 0.1.0
 */
export interface Options {
  /** How many events a lane has at most. */
  readonly queueCapacity: number
  /** How many bytes they have at most. */
  readonly queueSize: number
  readonly maxDeliveries: number
  readonly redeliveryBackoff: Duration.Duration
  readonly lifecycleRetention: Duration.Duration
  readonly deadLetters: DeadLetters
  /** Where the lane of events is recorded, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal has recorded earlier, the oldest first. */
  readonly events?: ReadonlyArray<StoredEvent> | undefined
  readonly timeline: Timeline
  /** Delivers an event to a worker. Only called within the capacity; does not throw. */
  readonly deliver: (event: Queued) => void
  /** Passes a response on. */
  readonly respond?: ((replyTo: unknown, response: unknown) => void) | undefined
  /** Called when `nextDue` is earlier than before, and when an event is refused. */
  readonly wake?: (() => void) | undefined
}

/**
 * How many bytes an event has.
 *
 * @since 0.1.0
 */
export const sizeOf = (json: string, origin: string | undefined): number =>
  byteLength(json) + (origin === undefined ? 0 : byteLength(origin))
