/**
 * The events and errors that a worker has received and that wait for a handler.
 */

import type * as Cause from "effect/Cause"
import type * as Queue from "effect/Queue"
import type * as Result from "effect/Result"
import type { MessageDecodeError, UnauthorizedError, UntrustedBrokerError } from "../../protocol/KosmonautError.ts"
import type { Event, Origin } from "../../protocol/Trigger.ts"
import type * as Deliveries from "./deliveries.ts"
import type { AnswerError } from "./target.ts"

/** Why something that arrived is not an event. */
export type ProtocolError = Exclude<AnswerError, UnauthorizedError> | MessageDecodeError

/** An event that has arrived, and its origin, if the broker sends it. */
export interface Arrived {
  /** The broker's id of the event; one made here if the broker has none. */
  readonly id: string
  readonly event: Event
  readonly origin: Origin | undefined
  /** If it is a request: when its response is no longer useful, in milliseconds of the monotonic clock. */
  readonly deadline: number | undefined
  /** Settles it, if the broker waits for an ack. */
  readonly delivery: Deliveries.Delivered | undefined
}

/** What arrives. */
export type Item = Result.Result<Arrived, ProtocolError>

/** Items in the order of their arrival. It ends with the worker's connection, or fails with its error. */
export type Inbox = Queue.Queue<Item, UnauthorizedError | UntrustedBrokerError | Cause.Done>
