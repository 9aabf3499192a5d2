/**
 * Retries requests whose response did not arrive.
 *
 * A request that was never sent is sent as if for the first time. A request that may have been executed is retried with its
 * idempotency key, which only our own broker understands; if the broker cannot know the outcome, the failure stays. The
 * failure that is reported is the first one after which the request may have been executed: a later refused connection must
 * not hide that.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type FromClient, isIdempotent, nameOf } from "../../protocol/Command.ts"
import type { Frames } from "../../protocol/Frame.ts"
import {
  type ConnectionError,
  isRetryable,
  type MessageEncodeError,
  type RequestTimeoutError,
  wasNotSent
} from "../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Retry from "../../protocol/Retry.ts"
import type { Requester, Sent } from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"

/** Why a request has no response. */
export type SendError = ConnectionError | RequestTimeoutError | MessageEncodeError

/** When to retry. */
export type RetrySchedule = Schedule.Schedule<unknown, ConnectionError | RequestTimeoutError> | "none"

/** Retries a request that failed, if that is safe; otherwise fails with its error. */
export type Retrier = (failed: {
  readonly command: FromClient
  readonly frames: Frames
  readonly sent: Sent
  readonly error: SendError
  readonly span: Tracer.Span | undefined
}) => Effect.Effect<Frames, SendError>

const retriesBy = MetricFamily.make(ClientMetrics.requestRetries, "command")

/** Retries with this requester until the scope ends. */
export const make = Effect.fnUntraced(function*(
  requester: Requester,
  schedule: RetrySchedule
): Effect.fn.Return<Retrier, never, Scope.Scope> {
  if (schedule === "none") return ({ error }) => Effect.fail(error)
  const closed = yield* Deferred.make<void>()
  yield* Effect.addFinalizer(() => Deferred.succeed(closed, undefined))

  return Effect.fnUntraced(function*({ command, error, frames, sent, span }) {
    const canRepeat = isIdempotent(command)
    const canRetry = (error: SendError): error is Failed =>
      !Deferred.isDoneUnsafe(closed) && (wasNotSent(error) || (
        isRetryable(error) && requester.supportsExtensions?.() === true && (canRepeat || sent.connection !== undefined)
      ))
    if (!canRetry(error)) return yield* error
    const next = yield* Schedule.toStepWithSleep(schedule)
    const pause = (failed: Failed) =>
      Effect.raceFirst(
        Pull.catchDone(Effect.as(next(failed), true), () => Effect.succeed(false)),
        Effect.as(Deferred.await(closed), false)
      )
    let failed: Failed = error
    let reported: Failed = error
    for (let retries = 1; yield* pause(failed); retries++) {
      span?.attribute("kosmonaut.retries", retries)
      yield* Metric.update(retriesBy(nameOf(command)), 1)
      const key = wasNotSent(reported) || canRepeat ? undefined : keyOf(sent)
      const response = yield* Effect.result(
        key === undefined
          ? requester.request(frames, sent)
          : requester.request(Retry.encode(key, frames))
      )
      if (Result.isSuccess(response)) {
        if (key !== undefined && isOutcomeUnknown(response.success)) break
        return response.success
      }
      if (response.failure._tag !== "MessageEncodeError" && wasNotSent(reported)) reported = response.failure
      if (!canRetry(response.failure)) break
      failed = response.failure
    }
    return yield* reported
  })
})

const keyOf = ({ connection, message }: Sent): Retry.Key | undefined =>
  connection === undefined ? undefined : { connection, message }

type Failed = ConnectionError | RequestTimeoutError

// The broker does not know `AG`, has no cached response, or no longer accepts the access token.
const isOutcomeUnknown = ([command, code]: Frames): boolean =>
  command === "ER" && (code === "400" || code === "402" || code === String(Retry.outcomeUnknown))
