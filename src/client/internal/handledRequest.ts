/**
 * The request that a handler responds to: how large its response may be, and its deadline.
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
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
  encoded: Result.Result<string, MessageEncodeError>
): Effect.Effect<Reply, MessageEncodeError> =>
  Effect.withFiber((fiber) => {
    const maxSize = fiber.getRef(MaxResponseSize)
    if (Result.isFailure(encoded)) return Effect.fail(encoded.failure)
    const size = byteLength(encoded.success)
    return size <= maxSize
      ? Effect.succeed(new Reply(outcome, encoded.success))
      : Effect.fail(
        new MessageEncodeError({
          argument: `the response to ${event}`,
          detail: `it has ${size} bytes, and may have ${maxSize}`
        })
      )
  })

/** The reply of a handler without a Schema: its value as JSON, `null` if it returned nothing. */
export const replyUntyped = (event: string, value: unknown): Effect.Effect<Reply, MessageEncodeError> =>
  reply(
    event,
    "ok",
    Result.mapError(
      Json.stringify(value ?? null),
      (cause) =>
        new MessageEncodeError({ argument: `the response to ${event}`, detail: "it cannot be written as JSON", cause })
    )
  )

/** A handler that was interrupted, or not begun, because the deadline of its request had passed. */
export class Expired {
  readonly error: DeadlineExceededError
  constructor(event: string) {
    this.error = new DeadlineExceededError({ event })
  }
}

/**
 * Interrupts a handler when the deadline of its request has passed, in milliseconds of the monotonic clock. The broker has failed the
 * request then.
 */
export const withinDeadline = <A, E, R>(
  event: string,
  deadline: number,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A | Expired, E, R> =>
  Effect.withFiber((fiber) => {
    const left = deadline - now(fiber.getRef(Clock.Clock))
    return left <= 0 ? expired(event) : within(event, left, handler, fiber.context as Context.Context<R>)
  })

// The handler has a fiber of its own, which can be interrupted alone. One that never waits ends in the step that begins it: it has no
// timer, which would cost more than most handlers.
const within = <A, E, R>(
  event: string,
  left: number,
  handler: Effect.Effect<A, E, R>,
  context: Context.Context<R>
): Effect.Effect<A | Expired, E> =>
  Effect.uninterruptibleMask((restore) => {
    const fiber = Effect.runForkWith(context)(handler)
    return fiber.pollUnsafe() ?? Effect.onInterrupt(
      restore(Effect.timeoutOrElse(Fiber.join(fiber), {
        duration: Duration.millis(left),
        orElse: () => Effect.andThen(Fiber.interrupt(fiber), expired(event))
      })),
      () => Fiber.interrupt(fiber)
    )
  })

const expired = (event: string): Effect.Effect<Expired> =>
  Effect.suspend(() => {
    const expired = new Expired(event)
    return Effect.as(Effect.logDebug(expired.error.message), expired)
  })

/** The time of the deadlines, in milliseconds of the monotonic clock. */
export const now = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
