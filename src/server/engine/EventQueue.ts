/**
 * The queued and the unacked events of one vhost, in lanes: events of browsers, requests, lifecycle events.
 *
 * Events are delivered in the order of their numbers over all lanes whose workers have credit. An event that is requeued
 * returns to its old position. If its handler failed, or if it was released more than once, it waits for a backoff first, and
 * other events pass it meanwhile. An event whose handler failed too often, or that was lost too often, becomes a dead letter
 * in the same step, so that it is always in exactly one place.
 *
 * A request ends with one result for the one who sent it: the response of a worker, a failure, or that its deadline has
 * passed. It is never persisted and never a dead letter.
 *
 * Queued, delayed and unacked events all count towards the limits of their lane. Beyond the limits an event is rejected; in
 * the lifecycle lane the oldest event is dropped instead. If the unacked events alone exceed the limits, events are delivered
 * only to workers that hold none.
 *
 * Locally each operation is one synchronous step, and `enqueue` and `grant` deliver before they return. Of a queue that several
 * brokers share, what is known at once is what this broker saw last: the counters are its own and add up over all brokers, the
 * numbers of a lane are those of the whole queue.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { byteLength } from "../../protocol/Frame.ts"
import type { LocalDeadLetters } from "./DeadLetters.ts"
import type { Lags } from "./internal/lags.ts"
import type { Timeline } from "./internal/timeline.ts"
import type * as Journal from "./Journal.ts"

/**
 * Which workers take an event: `events` all of them, `requests` those that respond, `lifecycle` those that opted in.
 *
 * @since 0.1.0
 */
export type Lane = "events" | "requests" | "lifecycle"

/**
 * How many events the workers of a lane can take now.
 *
 * @since 0.1.0
 */
export interface Capacity {
  /** How many workers take this lane. */
  workers: number
  /** How many more events can be delivered to them. */
  credits: number
  /** How many of them have credit and hold no event. */
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
  /** How long to wait before the first delivery, default not at all. */
  readonly delay?: Duration.Duration | undefined
  /** When the response to a request is no longer useful, in monotonic milliseconds. */
  readonly deadline?: number | undefined
  /** While an event is in its lane, another one with the same key is a duplicate. */
  readonly dedupeKey?: string | undefined
  /** Where to send the result of a request. */
  readonly replyTo?: unknown
}

/**
 * How a request ended.
 *
 * @since 0.1.0
 */
export type RequestResult = Data.TaggedEnum<{
  /** Its handler has returned, or has failed with its declared error: the JSON of either. */
  Responded: { readonly outcome: "ok" | "error"; readonly json: string }
  /** Its handler failed otherwise, or it was lost too often. */
  Failed: { readonly reason: string }
  /** Its deadline has passed. */
  Expired: {}
  /** It was cancelled before a worker has begun. */
  Cancelled: {}
}>

/**
 * Constructors and matchers of `RequestResult`.
 *
 * @since 0.1.0
 */
export const RequestResult = Data.taggedEnum<RequestResult>()

/**
 * An event in the queue. Every delivery has the same object.
 *
 * @since 0.1.0
 */
export interface Queued extends Omit<Enqueue, "delay"> {
  /** Its id in the vhost, the same for every delivery and after a restart of the broker. */
  readonly id: string
  /** Its position among all events of the vhost. */
  readonly number: number
  readonly origin: string | undefined
  /** How many bytes `json`, `origin` and `dedupeKey` have together; of a request 512 instead of the key. */
  readonly size: number
  /** How often it was delivered, without deliveries that could not be sent. */
  readonly attempts: number
}

/**
 * How a delivery ended.
 *
 * @since 0.1.0
 */
export type Outcome = Data.TaggedEnum<{
  /** It was handled, or sent to a worker that does not ack. */
  Acked: {}
  /** It was handled, and this is the JSON of what the handler returned (`ok`) or of its declared error. */
  Responded: { readonly outcome: "ok" | "error"; readonly json: string }
  /** Its handler failed. A request then ends. After `maxAttempts` failures the event is a dead letter; until then it is redelivered after a backoff. */
  Nacked: { readonly reason: string; readonly maxAttempts: number }
  /** It was returned unhandled. The first time it is redelivered immediately, from the second time on after a backoff. */
  Released: {}
  /** It could not be sent. The attempt does not count. */
  Unsent: {}
  /**
   * The worker is gone and sent no ack. After `maxDeliveries` losses the event is a dead letter. Losses that the broker
   * itself caused are not `isCounted`.
   */
  Lost: { readonly isCounted: boolean }
}>

/**
 * Constructors and matchers of `Outcome`.
 *
 * @since 0.1.0
 */
export const Outcome = Data.taggedEnum<Outcome>()

/**
 * The lane is full.
 *
 * @since 0.1.0
 */
export class QueueFullError extends Data.TaggedError("QueueFullError")<{
  readonly queued: number
  readonly unacked: number
}> {}

/**
 * No worker takes the lane, and its events are not queued without one.
 *
 * @since 0.1.0
 */
export class NoWorkerError extends Data.TaggedError("NoWorkerError")<{ readonly lane: Lane }> {}

/**
 * The queue that several nodes share cannot be reached. If the event `maybeQueued` it may be handled nevertheless.
 *
 * @since 0.1.0
 */
export class QueueUnavailableError extends Data.TaggedError("QueueUnavailableError")<{
  readonly maybeQueued: boolean
}> {}

/**
 * An event that is restored.
 *
 * @since 0.1.0
 */
export interface StoredEvent {
  /** Its number in the queue, and in the store. */
  readonly place: number
  readonly id: string
  readonly json: string
  readonly origin: string | undefined
  /** How often it was delivered. */
  readonly attempts: number
  /** How often its handler failed. */
  readonly failures: number
  /** How often it was lost. */
  readonly losses: number
  /** How long its first delivery was delayed, and until when, in milliseconds since 1970. */
  readonly delay?: number | undefined
  readonly dueAt?: number | undefined
  readonly dedupeKey?: string | undefined
}

/**
 * The events of one vhost.
 *
 * @since 0.1.0
 */
export interface EventQueue {
  /**
   * Enqueues an event, and delivers it if a worker has credit. Without a worker, requests and lifecycle events fail. It acts when
   * it is called; the effect waits until the event is queued, or is an `Exit`.
   */
  readonly enqueue: (
    event: Enqueue
  ) => Effect.Effect<"Queued" | "Duplicate", QueueFullError | NoWorkerError | QueueUnavailableError>
  /** Sets the total capacity of the workers, and delivers within the call. `capacity` is read again for every delivery. */
  readonly grant: (capacity: Readonly<Record<Lane, Capacity>>) => void
  /** Ends deliveries; ignored for events that are not delivered. Requeued events are delivered with the next `grant`. */
  readonly settle: (events: ReadonlyArray<Queued>, outcome: Outcome) => void
  /**
   * Removes the event of a lane with this `dedupeKey`; `false` if it was ever delivered, or if the key is unknown. It acts when it is
   * called; the effect waits for the outcome, or is an `Exit`. Keys of requests are those of this broker.
   */
  readonly cancel: (lane: Lane, dedupeKey: string) => Effect.Effect<boolean>
  /**
   * Requeues events whose backoff or delay has ended, delivers them, and ends requests whose deadline has passed: at most 256,
   * so that many do not hold up the rest. If there are more, `nextDue` has passed and the caller calls again in a later turn.
   */
  readonly requeueDue: () => void
  /** Ends all requests as failed for this reason, and takes none from now on. */
  readonly endRequests: (reason: string) => void
  /**
   * When the next backoff, delay or deadline ends, in monotonic milliseconds: the caller then calls `requeueDue`. `wake` is
   * called for earlier ones.
   */
  readonly nextDue: () => number | undefined
  /** Drops lifecycle events if no worker has taken them for `lifecycleRetention` of lived time. */
  readonly dropUnattended: () => void
  /** Whether lifecycle events are accepted: a worker takes them, or did within `lifecycleRetention`. */
  readonly isAttended: () => boolean
  /** Counters since the start; `queued` is the current number, and `queuedIn` that of one lane. */
  readonly counters: {
    readonly accepted: number
    readonly refused: number
    readonly dropped: number
    readonly redelivered: number
    readonly queued: number
  }
  /** How many events of a lane are queued now. */
  readonly queuedIn: (lane: Lane) => number
  /** What a lane has now. */
  readonly infoOf: (lane: Lane) => LaneInfo
}

/**
 * The events of a lane.
 *
 * @since 0.1.0
 */
export interface LaneInfo {
  /** How many are queued, delayed ones included. */
  readonly queued: number
  /** How many are delivered and not acked. */
  readonly unacked: number
  /** For how long the next one to deliver has been queued by this broker, in milliseconds; `undefined` if nothing is queued. */
  readonly oldestAge: number | undefined
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
  readonly deadLetters: LocalDeadLetters
  readonly clock: Clock.Clock
  /** What acks are measured by, default nothing. */
  readonly lags?: Pick<Lags, "ofLane"> | undefined
  /** Where the lane of events is recorded, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal has recorded earlier, the oldest first. */
  readonly events?: ReadonlyArray<StoredEvent> | undefined
  readonly timeline: Timeline
  /** Delivers an event to a worker. Only called within the capacity; does not throw. */
  readonly deliver: (event: Queued) => void
  /** Passes the result of a request on, once for each. Does not throw. */
  readonly respond?: ((replyTo: unknown, result: RequestResult) => void) | undefined
  /** Called when `nextDue` is earlier than it was the last time, and when an event is refused. */
  readonly wake?: (() => void) | undefined
}

/**
 * How many bytes an event has.
 *
 * @since 0.1.0
 */
export const sizeOf = (json: string, origin: string | undefined): number =>
  byteLength(json) + (origin === undefined ? 0 : byteLength(origin))
