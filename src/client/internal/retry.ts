/**
 * Sends requests again that got no answer.
 *
 * What was surely not sent is sent as if for the first time. What may have been carried out is made again by the name that
 * it was sent under, which a broker of ours alone understands; where that cannot know, the failure stays. Of many failures
 * the one is told that says the truth of the request: once it may have been carried out, no later one that was refused can
 * take that back.
 */

import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type FromClient, nameOf } from "../../protocol/Command.ts"
import type { Frames } from "../../protocol/Frame.ts"
import {
  type ConnectionError,
  mayPass,
  type MessageEncodeError,
  type RequestTimeoutError,
  wasNotSent
} from "../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Repetition from "../../protocol/Repetition.ts"
import type { Requester, Sent } from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"

/** Why there is no answer. */
export type SendError = ConnectionError | RequestTimeoutError | MessageEncodeError

/** When to try again. */
export type Retry = Schedule.Schedule<unknown, ConnectionError | RequestTimeoutError> | "none"

/** Sends again what has failed, where that may be. */
export type Again = (failed: {
  readonly command: FromClient
  readonly frames: Frames
  readonly sent: Sent
  readonly error: SendError
  readonly span: Tracer.Span | undefined
}) => Effect.Effect<Frames, SendError>

const retriesBy = MetricFamily.make(ClientMetrics.requestRetries, "command")

/** Sends again by this requester, until the scope ends. */
export const make = Effect.fnUntraced(function*(
  requester: Requester,
  retry: Retry
): Effect.fn.Return<Again, never, Scope.Scope> {
  if (retry === "none") return ({ error }) => Effect.fail(error)
  const closed = yield* Deferred.make<void>()
  yield* Effect.addFinalizer(() => Deferred.succeed(closed, undefined))

  return Effect.fnUntraced(function*({ command, error, frames, sent, span }) {
    const isHarmless = Repetition.isHarmless(command)
    const mayTry = (error: SendError): error is Failed =>
      !Deferred.isDoneUnsafe(closed) && (wasNotSent(error) || (
        isPassing(error) && requester.knowsAdditions?.() === true && (isHarmless || sent.connection !== undefined)
      ))
    if (!mayTry(error)) return yield* error
    const next = yield* Schedule.toStepWithSleep(retry)
    const pause = (failed: Failed) =>
      Effect.raceFirst(
        Pull.catchDone(Effect.as(next(failed), true), () => Effect.succeed(false)),
        Effect.as(Deferred.await(closed), false)
      )
    let failed: Failed = error
    let told: Failed = error
    for (let tries = 1; yield* pause(failed); tries++) {
      span?.attribute("kosmonaut.retries", tries)
      yield* Metric.update(retriesBy(nameOf(command)), 1)
      const name = wasNotSent(told) || isHarmless ? undefined : nameIn(sent)
      const answer = yield* Effect.result(
        name === undefined
          ? requester.request(frames, sent)
          : requester.request(Repetition.encode(name, frames))
      )
      if (Result.isSuccess(answer)) {
        if (name !== undefined && isUnknowing(answer.success)) break
        return answer.success
      }
      if (answer.failure._tag !== "MessageEncodeError" && wasNotSent(told)) told = answer.failure
      if (!mayTry(answer.failure)) break
      failed = answer.failure
    }
    return yield* told
  })
})

const nameIn = ({ connection, message }: Sent): Repetition.Name | undefined =>
  connection === undefined ? undefined : { connection, message }

type Failed = ConnectionError | RequestTimeoutError

// What cannot be understood now will not be the next time.
const isPassing = (error: SendError): boolean =>
  mayPass(error) && !(error._tag === "ConnectionError" && error.reason === "Malformed")

// A broker that does not know the word, that has forgotten, or does not let us in any more.
const isUnknowing = ([command, code]: Frames): boolean =>
  command === "ER" && (code === "400" || code === "402" || code === String(Repetition.forgotten))
