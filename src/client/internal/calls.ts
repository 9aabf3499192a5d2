/**
 * A Client's requests to workers, and the events that it triggers for them.
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as DedupeKey from "../../events/DedupeKey.ts"
import * as Event from "../../events/Event.ts"
import { FromClient } from "../../protocol/Command.ts"
import type { Frames } from "../../protocol/Frame.ts"
import * as Json from "../../protocol/Json.ts"
import {
  BadRequestError,
  type MessageDecodeError,
  type MessageEncodeError,
  type ProtocolError,
  ResponseError
} from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import * as Retry from "../../protocol/Retry.ts"
import { defaultTimeout, maxDelay, maxTimeout } from "../../protocol/Trigger.ts"
import type { RequestOptions, TriggerOptions } from "../ClientRequest.ts"
import { encodeEvent, type Named } from "./outgoingEvent.ts"
import { type Requests, toProtocolError } from "./request.ts"
import { expecting } from "./target.ts"

/** `Client.request` and `Client.trigger`. */
export const make = ({ inRoom, query, execute }: Requests) => {
  const request = (event: Named, data?: unknown, { timeout = defaultTimeout }: RequestOptions = {}) =>
    inRoom(emptyRequest, () =>
      Effect.gen(function*() {
        const encoded = yield* asEffect(encodeEvent(event, data))
        const options = { timeout: yield* asEffect(millis("timeout", timeout, 1, maxTimeout)) }
        const response = yield* query(FromClient.Request({ ...encoded, options }), noResponse)
        return yield* typeof event === "string" ? untyped(event, response) : typed(event, response)
      }))

  const trigger = (event: Named, data?: unknown, options: TriggerOptions = {}) =>
    inRoom(emptyTrigger, () =>
      Effect.gen(function*() {
        const encoded = yield* asEffect(encodeEvent(event, data))
        const dedupeKey = yield* asEffect(DedupeKey.make(event, data, options.dedupeKey))
        const delay = options.delay === undefined
          ? undefined
          : yield* asEffect(millis("delay", options.delay, 0, maxDelay))
        yield* execute(FromClient.Trigger({ ...encoded, options: { delay, dedupeKey } }))
      }))

  return { request, trigger }
}

/** How much longer than other responses the one to these frames may take, in milliseconds: a worker has to respond. */
export const extraTime = (frames: Frames): number => {
  const start = Retry.isRetry(frames) ? 3 : 0
  if (frames[start] !== "RQ") return 0
  const { timeout } = Json.parseObjectOrEmpty(frames[start + 3] ?? "")
  return typeof timeout === "number" ? timeout : defaultTimeout
}

const noResponse = expecting(457, 458, 459)

type Requested = typeof Response.Requested.Type

const typed = <E extends Event.Any>(
  event: E,
  response: Requested
): Effect.Effect<Event.Success<E>, Event.Error<E> | ProtocolError> =>
  "error" in response
    ? Effect.flatMap(asEffect(Event.decodeError(event, response.error)), Effect.fail)
    : asEffect(Event.decodeSuccess(event, response.data))

const untyped = (event: string, response: Requested): Effect.Effect<Schema.Json, ResponseError> =>
  "error" in response
    ? Effect.fail(new ResponseError({ event, error: response.error }))
    : Effect.succeed(response.data)

const emptyRequest = FromClient.Request({ event: "", data: "", options: {} })
const emptyTrigger = FromClient.Trigger({ event: "", data: "", options: {} })

const asEffect = <A>(
  result: Result.Result<A, BadRequestError | MessageDecodeError | MessageEncodeError>
): Effect.Effect<A, ProtocolError> => Effect.fromResult(Result.mapError(result, toProtocolError))

const millis = (
  option: string,
  input: Duration.Input,
  minimum: number,
  maximum: number
): Result.Result<number, BadRequestError> => {
  const value = Option.match(Duration.fromInput(input), { onNone: () => NaN, onSome: Duration.toMillis })
  return value >= minimum && value <= maximum
    ? Result.succeed(value)
    : Result.fail(new BadRequestError({ detail: `${option} is a duration of ${minimum} to ${maximum} milliseconds` }))
}
