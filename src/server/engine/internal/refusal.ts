/**
 * Why an event is not enqueued, as errors of the protocol.
 */

import { InternalError } from "../../../protocol/KosmonautError.ts"
import type { QueueFullError } from "../EventQueue.ts"

/** The error of an event of so many bytes, if a worker's connection cannot carry it. */
export const tooLarge = (size: number, largest: number): InternalError | undefined =>
  size > largest ? new InternalError({ detail: `the event has ${size} bytes, the limit is ${largest}` }) : undefined

/** The error of an event for which the queue has no room. */
export const queueFull = ({ queued, unacked }: QueueFullError): InternalError =>
  new InternalError({ detail: `the queue is full: ${queued} events are queued, and ${unacked} are unacknowledged` })

/** The error of a lifecycle event that no worker takes. */
export const noLifecycleWorker = new InternalError({ detail: "no worker takes lifecycle events" })
