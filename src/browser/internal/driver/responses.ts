/**
 * The responses to requests, decoded by the Schemas that the requests declare.
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Event from "../../../events/Event.ts"
import { MessageDecodeError, ProtocolError } from "../../../protocol/KosmonautError.ts"

/** What a handler gave. */
export const success = <E extends Event.Any>(
  event: E,
  data: unknown
): Effect.Effect<Event.Success<E>, ProtocolError> => Effect.fromResult(read(event, decodersOf(event).success, data))

/** The declared error that a handler failed with. */
export const error = <E extends Event.Any>(
  event: E,
  data: unknown
): Effect.Effect<never, Event.Error<E> | ProtocolError> =>
  Effect.flatMap(
    Effect.fromResult(read(event, decodersOf(event).error, data)),
    (error: Event.Error<E>) => Effect.fail(error)
  )

type Decoder = (data: unknown) => Result.Result<unknown, unknown>

interface Decoders {
  readonly success: Decoder
  readonly error: Decoder
}

const decoders = new WeakMap<Event.Any, Decoders>()

const decodersOf = (event: Event.Any): Decoders => {
  const known = decoders.get(event)
  if (known !== undefined) return known
  const made = {
    success: Schema.decodeUnknownResult(Schema.toCodecJson(event.successSchema)),
    error: Schema.decodeUnknownResult(Schema.toCodecJson(event.errorSchema))
  }
  decoders.set(event, made)
  return made
}

const read = (event: Event.Any, decode: Decoder, data: unknown): Result.Result<never, ProtocolError> =>
  // A Schema may throw.
  Result.mapError(Result.flatMap(Result.try(() => decode(data)), (result) => result), (cause) => {
    const detail = `the response to ${event._tag} does not fit its schema`
    return new ProtocolError({ reason: new MessageDecodeError({ detail, cause }) })
  }) as Result.Result<never, ProtocolError>
