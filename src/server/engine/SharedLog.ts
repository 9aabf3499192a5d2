/**
 * The port of a log that several nodes share: it puts what they append into one order, and gives all of it to each of them.
 *
 * It knows nothing of channels: entries are texts. Every node reads the same entries in the same order and makes the same of
 * them, see `internal/replicatedLog.ts`. There is one log for each vhost.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Event } from "../../protocol/Trigger.ts"

/**
 * The log cannot be reached, or has refused something, for instance because the lease of this node has ended. `wasAppended` is
 * whether what was to be appended may have a place: `no` if it surely has none and never gets one. If the node `isFenced` nothing
 * that it appends from now on gets one.
 *
 * @since 0.1.0
 */
export class SharedLogError extends Schema.TaggedError<SharedLogError>("kosmonaut/server/engine/SharedLogError")(
  "SharedLogError",
  { detail: Schema.String, wasAppended: Schema.Literals(["no", "maybe"]), isFenced: Schema.Boolean }
) {
  override get message(): string {
    return `The shared log failed: ${this.detail}`
  }
}

/**
 * The entries after an offset are no longer there: they were trimmed, or the shared state was lost and this is another log. A node
 * then begins with `start` again.
 *
 * @since 0.1.0
 */
export class LogLostError extends Schema.TaggedError<LogLostError>("kosmonaut/server/engine/LogLostError")(
  "LogLostError",
  { detail: Schema.String }
) {
  override get message(): string {
    return `The position in the shared log is lost: ${this.detail}`
  }
}

/**
 * An entry of the log.
 *
 * @since 0.1.0
 */
export interface LogEntry {
  /** Its place: 1 for the first one, and each has the next number. */
  readonly offset: number
  /** When it was appended, in milliseconds of the clock that all nodes share. No entry has an earlier time than the one before. */
  readonly time: number
  /** The incarnation of the node that has appended it, or whose lease has ended. */
  readonly node: string
  /** What was appended; `undefined` says that the lease of the node has ended: nothing of that node follows. */
  readonly entry: string | undefined
}

/**
 * Where a node begins: the last snapshot, or an empty one with the offset 0.
 *
 * @since 0.1.0
 */
export interface LogStart {
  /** Names the positions of this log. Another log, after the shared state was lost, has another epoch. */
  readonly epoch: string
  /** The offset of the last entry that the snapshot includes. */
  readonly offset: number
  /** The texts of the snapshot, as they were given to `storeSnapshot`. */
  readonly parts: ReadonlyArray<string>
}

/**
 * The log of one vhost that all nodes share.
 *
 * @since 0.1.0
 */
export interface SharedLog {
  /** This node's incarnation, 8 hex digits. */
  readonly self: string
  /**
   * Appends an entry, of at most `maxEntrySize` bytes, and returns its offset. Entries of one node have their places in the
   * order of the calls. Fails after a bounded time. If it fails with `wasAppended: "no"` it never gets a place; so does every
   * entry of a node whose lease has ended. If it is interrupted it may have one.
   */
  readonly append: (entry: string) => Effect.Effect<number, SharedLogError>
  /**
   * The entries after an offset of the log with this epoch, in order, each once, those of this node too; as soon as they are
   * there. A part has at least one entry, and not many more than a megabyte. It outlasts lost connections, and fails only if the
   * entries are lost.
   */
  readonly follow: (epoch: string, after: number) => Stream.Stream<ReadonlyArray<LogEntry>, LogLostError>
  /** The offset of the last entry that any node has appended until this is called; 0 without one. */
  readonly tail: Effect.Effect<number, SharedLogError>
  /** The last snapshot. Makes the log, with a random epoch, if it does not exist yet. */
  readonly start: Effect.Effect<LogStart, SharedLogError>
  /**
   * Stores a snapshot at an offset of the log with this epoch, in place of the one before; its parts have at most about a
   * megabyte each. `false` if there is a later one or the log is another one. Entries up to the offset may be trimmed; those
   * after it never are.
   */
  readonly storeSnapshot: (
    epoch: string,
    offset: number,
    parts: ReadonlyArray<string>
  ) => Effect.Effect<boolean, SharedLogError>
  /** This node cannot go on: it has lost its lease from now on, and starts anew. */
  readonly giveUp: (detail: string) => Effect.Effect<void>
}

/**
 * How many bytes an entry has at most. One intent alone may be larger, if `maxMessageSize` is.
 *
 * @since 0.1.0
 */
export const maxEntrySize = 1_048_576

/**
 * A lifecycle event that all nodes have decided alike.
 *
 * @since 0.1.0
 */
export interface NumberedEvent {
  /** 1 for the first one of a log, and each has the next number. */
  readonly number: number
  readonly event: Event
}

/**
 * Puts the lifecycle events of a vhost into the event queue that all nodes share, each once, though several nodes may emit the
 * same ones.
 *
 * An implementation stores with the queue, for each vhost, the epoch and the number of the last event that was emitted. In one
 * step (one script) `emit` leaves out the events whose number is not beyond it, enqueues the others in their order (as
 * `EventQueue.enqueue` does in the lane `lifecycle`), and stores the number of the last one. Another epoch begins after 0.
 *
 * @since 0.1.0
 */
export interface LifecycleEvents {
  /** Enqueues events with successive numbers, those of them that were not enqueued before. Safe to repeat. */
  readonly emit: (epoch: string, events: ReadonlyArray<NumberedEvent>) => Effect.Effect<void, SharedLogError>
  /** The number of the last event that was emitted of this epoch, 0 without one. */
  readonly emitted: (epoch: string) => Effect.Effect<number, SharedLogError>
}

/**
 * The logs that several nodes share. A broker without this service is alone, and has logs of its own.
 *
 * @since 0.1.0
 */
export class SharedLogs extends Context.Service<SharedLogs, {
  /** The log of a vhost, until the scope ends. */
  readonly logOf: (vhost: string) => Effect.Effect<SharedLog, never, Scope.Scope>
  /** Deletes the log of a vhost that was removed. Whoever follows it loses it. Safe to repeat. */
  readonly remove: (vhost: string) => Effect.Effect<void, SharedLogError>
}>()("kosmonaut/server/engine/SharedLogs") {}
