/**
 * Why an event is not enqueued, as errors of the protocol.
 */

import { InternalError } from "../../../protocol/KosmonautError.ts"
import { type QueueFullError, type QueueUnavailableError, sizeOf } from "../EventQueue.ts"

/** The error of an event, if a worker's connection cannot carry it and `more` bytes. */
export const tooLarge = (
  json: string,
  origin: string | undefined,
  more: number,
  largest: number
): InternalError | undefined => {
  // A code unit has at most three bytes: only what may be too much is counted exactly.
  if (3 * (json.length + (origin === undefined ? 0 : origin.length)) + more <= largest) return undefined
  const size = sizeOf(json, origin) + more
  return size > largest
    ? new InternalError({ detail: `the event has ${size} bytes, the limit is ${largest}` })
    : undefined
}

/** The error of an event that is not queued, or may not be. */
export const notQueued = (error: QueueFullError | QueueUnavailableError): InternalError => {
  if (error._tag === "QueueUnavailableError") return error.maybeQueued ? maybeQueued : unavailable
  const { queued, unacked } = error
  return new InternalError({
    detail: `the queue is full: ${queued} events are queued, and ${unacked} are unacknowledged`
  })
}

const unavailable = new InternalError({ detail: "the queue cannot be reached, and the event is not queued" })

const maybeQueued = new InternalError({ detail: "the queue cannot be reached, and the event may be queued" })

/** The error of a lifecycle event that no worker takes. */
export const noLifecycleWorker = new InternalError({ detail: "no worker takes lifecycle events" })
