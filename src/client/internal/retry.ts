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
import { descriptions, type FromClient } from "../../protocol/Command.ts"
import type { Frames } from "../../protocol/Frame.ts"
import {
  type ConnectionError,
  isRetryable,
  type RequestTimeoutError,
  wasNotSent
} from "../../protocol/KosmonautError.ts"
import * as Retry from "../../protocol/Retry.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Pipeline, SendError, Unanswered } from "./pipeline.ts"

/** When to retry. */
export type RetrySchedule = Schedule.Schedule<unknown, ConnectionError | RequestTimeoutError> | "none"

/** Retries a request that failed, if that is safe; otherwise fails with its error. */
export type Retrier = (
  request: {
    readonly command: FromClient
    readonly frames: Frames
    readonly span: Tracer.Span | undefined
  },
  failed: Unanswered
) => Effect.Effect<Frames, SendError>

/** Retries with this pipeline until the scope ends. */
export const make = Effect.fnUntraced(function*(
  pipeline: Pipeline,
  schedule: RetrySchedule
): Effect.fn.Return<Retrier, never, Scope.Scope> {
  if (schedule === "none") return (_, { error }) => Effect.fail(error)
  const closed = yield* Deferred.make<void>()
  yield* Effect.addFinalizer(() => Deferred.succeed(closed, undefined))

  return Effect.fnUntraced(function*({ command, frames, span }, { error, key: firstKey }) {
    const canRepeat = descriptions[command._tag].isIdempotent
    // That of the last attempt as if for the first time.
    let key = firstKey
    const canRetry = (error: SendError): error is Failed =>
      !Deferred.isDoneUnsafe(closed) && isRetryable(error) && (
        wasNotSent(error) || (pipeline.isKosmonaut() && (canRepeat || key !== undefined))
      )
    if (!canRetry(error)) return yield* error
    const step = yield* Schedule.toStepWithSleep(schedule)
    const pause = (failed: Failed) =>
      Effect.raceFirst(
        Pull.catchDone(Effect.as(step(failed), true), () => Effect.succeed(false)),
        Effect.as(Deferred.await(closed), false)
      )
    let failed: Failed = error
    let reported: Failed = error
    for (let retries = 1; yield* pause(failed); retries++) {
      span?.attribute("kosmonaut.retries", retries)
      yield* Metric.update(ClientMetrics.requestRetriesBy(descriptions[command._tag].name), 1)
      const isNamed = key !== undefined && !canRepeat && !wasNotSent(reported)
      const response = yield* Effect.result(pipeline.request(isNamed ? Retry.encode(key!, frames) : frames))
      if (Result.isSuccess(response)) {
        if (isNamed && isOutcomeUnknown(response.success)) break
        return response.success
      }
      const next = response.failure
      if (!isNamed) key = next.key ?? key
      if (next.error._tag !== "MessageEncodeError" && wasNotSent(reported)) reported = next.error
      if (!canRetry(next.error)) break
      failed = next.error
    }
    return yield* reported
  })
})

type Failed = ConnectionError | RequestTimeoutError

// The broker does not know `AG`, has no cached response, or no longer accepts the access token.
const isOutcomeUnknown = ([command, code]: Frames): boolean =>
  command === "ER" && (code === "400" || code === "402" || code === String(Retry.outcomeUnknown))
