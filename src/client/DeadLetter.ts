/**
 * Dead letters: events that are not redelivered, because their handlers failed `maxAttempts` times. The broker keeps
 * them, up to a bound, for a person to look at; a `Client` lists, replays and discards them.
 *
 * @since 0.1.0
 */

import type * as DateTime from "effect/DateTime"
import type { JsonObject } from "../protocol/Json.ts"

/**
 * An event that failed too often and is not redelivered.
 *
 * @since 0.1.0
 */
export interface DeadLetter {
  /** The event's name in its vhost, the `id` that its handlers had. Replayed it is a new event, with another. */
  readonly id: string
  /** Its name on the wire. Where `data` are absent, at most the first 200 characters, and then a `…`. */
  readonly event: string
  /**
   * Its data; absent where event and data are so large that they have no room in an answer. The broker has them all the
   * same.
   */
  readonly data: JsonObject | undefined
  /** How many bytes event and data have as they travel to a worker. */
  readonly size: number
  /** Where it comes from; what the broker does not know is absent. */
  readonly origin: {
    /** The browser that triggered it. */
    readonly sid: string | undefined
    /** The user that this browser had authenticated as. */
    readonly uid: string | undefined
    /** The channel, where it came with a broadcast. */
    readonly channel: string | undefined
  }
  /** How often it was handed out. */
  readonly attempts: number
  /** The reason of the last failure, as its worker sent it, at most 500 characters. */
  readonly reason: string
  /** When that was, by the broker's clock. */
  readonly failedAt: DateTime.Utc
}

/**
 * What came of replaying all dead letters.
 *
 * @since 0.1.0
 */
export interface Replayed {
  /** How many are events again, the oldest. */
  readonly replayed: number
  /**
   * How many still are dead letters, since too many events wait for a worker, or no worker takes lifecycle events; 0 where
   * all are events again.
   */
  readonly left: number
}
