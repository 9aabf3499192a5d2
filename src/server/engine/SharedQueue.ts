/**
 * The port of an event queue that several nodes share: it executes turns, each in one step, and wakes nodes that wait for events.
 *
 * What a node does in a turn of its event loop is one turn here: it settles deliveries, enqueues events, and says how many more its
 * workers can take; it is given as many. There is one such queue for each vhost. `internal/sharedQueue.ts` makes an `EventQueue` of
 * it.
 *
 * What a node holds belongs to its lease. When that has ended its turns are refused, and its events return to their places, each
 * counted as lost.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { DeadLetter } from "./DeadLetters.ts"
import type { Capacity, Lane, LaneInfo, Options, Outcome, RequestResult } from "./EventQueue.ts"

/**
 * A turn was not executed, or it is unknown whether it was. If the node `isFenced` it never will be; otherwise repeat it.
 *
 * @since 0.1.0
 */
export class SharedQueueError extends Data.TaggedError("SharedQueueError")<{
  readonly detail: string
  readonly isFenced: boolean
}> {
  override get message(): string {
    return this.detail
  }
}

/**
 * Deliveries that have ended in the same way, by the numbers of their events.
 *
 * @since 0.1.0
 */
export interface Settled {
  readonly numbers: ReadonlyArray<number>
  readonly outcome: Outcome
  /** Their sizes, if all have one. */
  readonly sizes?: ReadonlyArray<number> | undefined
}

/**
 * What a node wants, with one answer for each.
 *
 * @since 0.1.0
 */
export type Call = Data.TaggedEnum<{
  /** Enqueues an event. */
  Enqueue: {
    readonly lane: Lane
    readonly json: string
    readonly origin: string | undefined
    /** About how many bytes it has. */
    readonly size: number
    /** In milliseconds. */
    readonly delay: number
    readonly dedupeKey: string | undefined
    /** Of a request: how many milliseconds its response is useful, and its id at the node that it comes from. */
    readonly timeLeft: number | undefined
    readonly replyTo: string | undefined
    /** Since when it can be handled by the queue's clock, in milliseconds since 1970, if that is known. */
    readonly since?: number | undefined
  }
  /** Removes an event that was never delivered: `Done`, or `None` if the key is unknown. */
  Cancel: { readonly lane: Lane; readonly dedupeKey: string }
  /** Makes a dead letter a new event: `Queued`, `None` if none has the id, or why it stays a dead letter. */
  Replay: { readonly id: string }
  /** Adds a dead letter: `Done`. */
  AddLetter: { readonly letter: Omit<DeadLetter, "failedAt"> }
  /** Removes a dead letter: `Done`, or `None` if none has the id. */
  Discard: { readonly id: string }
  /**
   * Enqueues those lifecycle events of an epoch whose numbers are beyond all that were emitted of it. One without a text only has its
   * number.
   */
  Emit: {
    readonly epoch: string
    readonly events: ReadonlyArray<{ readonly number: number; readonly json: string; readonly size: number }>
  }
}>

/**
 * Constructors of `Call`.
 *
 * @since 0.1.0
 */
export const Call = Data.taggedEnum<Call>()

/**
 * How a call ended. Of `Emit` it is the number of the last event that was emitted.
 *
 * @since 0.1.0
 */
export type Answer = "Queued" | "Duplicate" | "NoWorker" | "Full" | "Done" | "None" | number

/**
 * What a node does in a turn.
 *
 * @since 0.1.0
 */
export interface Turn {
  /** 1 for the first one of a node in this queue, and each has the next number. */
  readonly number: number
  readonly settled: ReadonlyArray<Settled>
  readonly calls: ReadonlyArray<Call>
  /** What the workers of the node can take. It is given at most 1000 events. */
  readonly capacity: Readonly<Record<Lane, Capacity>>
  /** How many responses the last turn had: they are deleted. */
  readonly responsesSeen: number
  /** Whether it is given responses, at most 1000. */
  readonly takesResponses: boolean
  /** Also looks for the ages of events, and for nodes that have ended. */
  readonly isPoll: boolean
  /** When it was made, by the queue's clock, if that is known. */
  readonly madeAt?: number | undefined
}

/**
 * An event that a node is to deliver.
 *
 * @since 0.1.0
 */
export interface Claimed {
  readonly id: string
  readonly number: number
  readonly lane: Lane
  readonly json: string
  readonly origin: string | undefined
  readonly dedupeKey: string | undefined
  readonly attempts: number
  /** How many milliseconds the response to a request is useful. */
  readonly timeLeft: number | undefined
  /** Since when it could be handled first, or was replayed, by the queue's clock, if that is known. */
  readonly since: number | undefined
  /** How many bytes it counts in the queue, if its ack does no more than to delete it: it has no dedupe key and is no request. */
  readonly size: number | undefined
}

/**
 * What a turn has done.
 *
 * @since 0.1.0
 */
export interface TurnResult {
  /** Of each call, in their order. */
  readonly answers: ReadonlyArray<Answer>
  /** In the order of their numbers. */
  readonly claimed: ReadonlyArray<Claimed>
  /** The results of this node's requests. */
  readonly responses: ReadonlyArray<{ readonly to: string; readonly result: RequestResult }>
  readonly status: Status
  /** Whether the status has the ages of events: it was a poll. */
  readonly hasAges: boolean
  /** The nodes that have ended, and are to be ended here. */
  readonly ended: ReadonlyArray<string>
  /** What the queue's clock says, in milliseconds since 1970. */
  readonly time: number
}

/**
 * What a queue has over all nodes.
 *
 * @since 0.1.0
 */
export interface Status {
  /** `oldestAge` only of a poll. */
  readonly lanes: Readonly<Record<Lane, LaneInfo & { readonly workers: number }>>
  readonly deadLetters: number
  /** After how many milliseconds the next delay or backoff ends. */
  readonly dueIn: number | undefined
  /** Whether lifecycle events are accepted. */
  readonly isAttended: boolean
  /** What happened in this turn. */
  readonly dropped: number
  readonly redelivered: number
  readonly lettersAdded: number
  readonly lettersDropped: number
}

/**
 * A dead letter, and its place among all that there ever were.
 *
 * @since 0.1.0
 */
export interface NumberedLetter {
  readonly cursor: number
  readonly letter: DeadLetter
}

/**
 * The queue of one vhost that all nodes share.
 *
 * @since 0.1.0
 */
export interface SharedQueue {
  /**
   * Executes a turn in one step. One at a time, in the order of their numbers. The last turn may be repeated, with all that it has:
   * that changes nothing and has the same result. Fails after a bounded time.
   */
  readonly run: (turn: Turn) => Effect.Effect<TurnResult, SharedQueueError>
  /**
   * Ends a node, this one or one whose lease has ended: its events return to their places in one step. They count as lost if
   * `isCounted`. Safe to repeat; does nothing while the node has its lease.
   */
  readonly end: (node: string, isCounted: boolean) => Effect.Effect<void, SharedQueueError>
  /** Some of the dead letters after a cursor, the oldest first; none if there are no more. */
  readonly deadLettersAfter: (cursor: number) => Effect.Effect<ReadonlyArray<NumberedLetter>, SharedQueueError>
  /** The dead letter with this id. */
  readonly deadLetter: (id: string) => Effect.Effect<DeadLetter | undefined, SharedQueueError>
  /** Calls a listener when there may be something for this node. Returns a function that removes it. */
  readonly onWakeUnsafe: (listener: () => void) => () => void
  /** This node, as `end` names it. */
  readonly self: string
}

/**
 * The limits of a shared queue.
 *
 * @since 0.1.0
 */
export type Limits =
  & Pick<
    Options,
    "queueCapacity" | "queueSize" | "maxDeliveries" | "redeliveryBackoff" | "lifecycleRetention"
  >
  & {
    readonly deadLetterCapacity: number
    readonly deadLetterSize: number
  }

/**
 * The queues that several nodes share. A broker without this service is alone, and has queues of its own.
 *
 * @since 0.1.0
 */
export class SharedQueues extends Context.Service<SharedQueues, {
  /** The queue of a vhost. */
  readonly queueOf: (vhost: string, limits: Limits) => SharedQueue
  /**
   * Deletes the queue of a vhost that was removed, with its dead letters, unless other living nodes have not left it yet: each calls
   * this once it has left.
   */
  readonly remove: (vhost: string) => Effect.Effect<void, SharedQueueError>
}>()("kosmonaut/server/engine/SharedQueues") {}
