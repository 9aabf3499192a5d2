/**
 * The request that a handler responds to: how large its response may be, and its deadline.
 */

import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Result from "effect/Result"
import { byteLength } from "../../protocol/Frame.ts"
import * as Json from "../../protocol/Json.ts"
import { DeadlineExceededError, MessageEncodeError } from "../../protocol/KosmonautError.ts"

/** How many bytes the response to a request may have; not limited outside of a worker. */
export class MaxResponseSize extends Context.Reference<number>("kosmonaut/client/internal/MaxResponseSize", {
  defaultValue: () => Infinity
}) {}

/** What a handler responds: the JSON of what it returned, or of its declared error. */
export class Reply {
  readonly outcome: "ok" | "error"
  readonly json: string
  constructor(outcome: "ok" | "error", json: string) {
    this.outcome = outcome
    this.json = json
  }
}

/** The reply of this JSON. Fails if it could not be encoded, or is larger than a message may be. */
export const reply = (
  event: string,
  outcome: "ok" | "error",
  encoded: Result.Result<string, MessageEncodeError>,
  maxSize: number
): Result.Result<Reply, MessageEncodeError> => {
  if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
  const size = byteLength(encoded.success)
  return size <= maxSize
    ? Result.succeed(new Reply(outcome, encoded.success))
    : Result.fail(
      new MessageEncodeError({
        argument: `the response to ${event}`,
        detail: `it has ${size} bytes, and may have ${maxSize}`
      })
    )
}

/** The reply of a handler without a Schema: its value as JSON, `null` if it returned nothing. */
export const replyUntyped = (
  event: string,
  value: unknown,
  maxSize: number
): Result.Result<Reply, MessageEncodeError> =>
  reply(
    event,
    "ok",
    Result.mapError(
      Json.stringify(value ?? null),
      (cause) =>
        new MessageEncodeError({ argument: `the response to ${event}`, detail: "it cannot be written as JSON", cause })
    ),
    maxSize
  )

/** A handler that was interrupted, or not begun, because the deadline of its request had passed. */
export class Expired {
  readonly error: DeadlineExceededError
  constructor(event: string) {
    this.error = new DeadlineExceededError({ event })
  }
}

/** The time of the deadlines, in milliseconds of the monotonic clock. */
export const now = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
