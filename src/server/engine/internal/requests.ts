/**
 * The requests of a vhost: each is enqueued with a deadline, and has one result, which is passed on to the one who sent it.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type InternalError, NoWorkerError } from "../../../protocol/KosmonautError.ts"
import { shared } from "../../domain/sharedError.ts"
import type { EventQueue, RequestResult } from "../EventQueue.ts"
import * as Pending from "../Pending.ts"
import { notQueued, tooLarge } from "./refusal.ts"
import type { Timeline } from "./timeline.ts"

/** A request for a worker. */
export interface Request {
  /** The name of its event, for errors. */
  readonly event: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin?: string | undefined
  /** After how many milliseconds its response is no longer useful. */
  readonly timeout: number
  /** Called once with its result if it was enqueued. */
  readonly respondUnsafe: (result: RequestResult) => void
}

/** Cancels a request, whose result is then `Cancelled`, unless a worker has begun, or it has its result. */
export type Cancel = () => void

/** How requests end, as their metric names it. */
export const outcomes = ["ok", "error", "failed", "expired", "cancelled", "no_worker", "refused"] as const

/** How many requests have ended in each way. */
export type Outcomes = { readonly [Outcome in (typeof outcomes)[number]]: number }

/** All counts at 0. */
export const none: Outcomes = { ok: 0, error: 0, failed: 0, expired: 0, cancelled: 0, no_worker: 0, refused: 0 }

/** The requests of one vhost. */
export interface Requests {
  /** Enqueues a request when it is called; the effect waits until it is queued, or is an `Exit`. */
  readonly enqueue: (request: Request) => Effect.Effect<Cancel, NoWorkerError | InternalError>
  /** Passes a result on. */
  readonly respondUnsafe: (replyTo: unknown, result: RequestResult) => void
  readonly counted: Outcomes
  /** Why the last one failed. */
  readonly lastFailure: () => string
}

const noWorker = shared((event) => new NoWorkerError({ event }))

/** How many bytes the time that is left takes in the origin at most. */
const timeSize = 32

/** Makes the requests of a vhost, whose events have at most `largest` bytes. */
export const make = (queue: () => EventQueue, timeline: Timeline, largest: number): Requests => {
  const counted = { ...none }
  let lastFailure = ""
  let keys = 0

  return {
    enqueue: (request) => {
      const { event, json, origin, timeout } = request
      const error = tooLarge(json, origin, timeSize, largest)
      if (error !== undefined) {
        counted.refused++
        return Exit.fail(error)
      }
      const dedupeKey = String(keys++)
      const deadline = timeline.now() + timeout
      const enqueued = queue().enqueue({ lane: "requests", json, origin, deadline, dedupeKey, replyTo: request })
      const cancel: Cancel = () => void queue().cancel("requests", dedupeKey)
      if (Pending.isDone(enqueued) && Exit.isSuccess(enqueued)) return Exit.succeed(cancel)
      return Effect.mapBoth(enqueued, {
        onSuccess: () => cancel,
        onFailure: (error) => {
          counted[error._tag === "NoWorkerError" ? "no_worker" : "refused"]++
          return error._tag === "NoWorkerError" ? noWorker(event) : notQueued(error)
        }
      })
    },
    respondUnsafe: (replyTo, result) => {
      switch (result._tag) {
        case "Responded":
          counted[result.outcome]++
          break
        case "Failed":
          counted.failed++
          lastFailure = result.reason
          break
        case "Expired":
          counted.expired++
          break
        case "Cancelled":
          counted.cancelled++
      }
      const { respondUnsafe } = replyTo as Request
      respondUnsafe(result)
    },
    counted,
    lastFailure: () => lastFailure
  }
}
