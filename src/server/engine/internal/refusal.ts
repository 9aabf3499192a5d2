/**
 * Why an event is not enqueued, as errors of the protocol.
 */

import { InternalError } from "../../../protocol/KosmonautError.ts"
import { type QueueFullError, type QueueUnavailableError, sizeOf } from "../EventQueue.ts"

/** The error of an event that a worker's connection cannot carry; `extra` bytes belong to it beside its texts. */
export const tooLarge = (
  json: string,
  origin: string | undefined,
  largest: number,
  extra: number = 0
): InternalError | undefined => {
  // A code unit has at most three bytes: only what may be too much is counted exactly.
  if (3 * (json.length + (origin?.length ?? 0)) + extra <= largest) return undefined
  const size = sizeOf(json, origin) + extra
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
