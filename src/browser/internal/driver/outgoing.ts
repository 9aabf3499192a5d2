/**
 * Calls as the user makes them: encoded before anything is sent, in a span if somebody traces, with the errors of their kind.
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import * as DedupeKey from "../../../events/DedupeKey.ts"
import * as Event from "../../../events/Event.ts"
import type { MessageDecodeError, ProtocolError } from "../../../protocol/KosmonautError.ts"
import * as Trace from "../../../protocol/Trace.ts"
import type { BroadcastError, CallError, RequestError, UpdateError } from "../../BrowserError.ts"
import type { Failure } from "../failure.ts"
import type { Call } from "../input.ts"
import type { CallResult } from "../output.ts"
import type { Calls } from "./calls.ts"
import * as Errors from "./errors.ts"

/** A call before it is encoded. */
export interface Outgoing {
  readonly kind: Call["kind"]
  readonly event: Event.Any
  readonly data: unknown
  readonly channel?: string | undefined
  /** Milliseconds. */
  readonly timeout: number
}

/** Triggers an event. */
export const trigger = (calls: Calls, outgoing: Outgoing): Effect.Effect<void, CallError> =>
  confirmed(calls, outgoing, Errors.callError)

/** Broadcasts an event. */
export const broadcast = (calls: Calls, outgoing: Outgoing): Effect.Effect<void, BroadcastError> =>
  confirmed(calls, outgoing, Errors.broadcastError)

/** Updates the data of a subscription, the JSON text of an object. */
export const update = (
  calls: Calls,
  channel: string,
  data: string,
  timeout: number
): Effect.Effect<void, UpdateError> => {
  const call = { kind: "update", event: "", channel, data, timeout } as const
  return Trace.span(
    "Browser.update",
    () => spanOptions(call),
    () =>
      Effect.flatMap(calls.call(call), (result) =>
        result._tag === "Failure"
          ? Effect.fail(Errors.updateError(result.failure, { operation: "update", event: "", channel, timeout }))
          : Effect.void)
  )
}

/** Makes a request. */
export const request = <E extends Event.Any>(
  calls: Calls,
  event: E,
  outgoing: Outgoing
): Effect.Effect<Event.Success<E>, Event.Error<E> | RequestError> =>
  execute(calls, outgoing, (result): Effect.Effect<Event.Success<E>, Event.Error<E> | RequestError> => {
    switch (result._tag) {
      case "Success":
        return fromDecoded(Event.decodeSuccess(event, result.data))
      case "Declared":
        return Effect.flatMap(fromDecoded(Event.decodeError(event, result.error)), Effect.fail)
      case "Failure":
        return Effect.fail(Errors.requestError(result.failure, subjectOf(outgoing)))
      case "Cancelled":
        return Effect.interrupt
    }
  })

const fromDecoded = <A>(decoded: Result.Result<A, MessageDecodeError>): Effect.Effect<A, ProtocolError> =>
  Result.isSuccess(decoded) ? Effect.succeed(decoded.success) : Effect.fail(Errors.protocolError(decoded.failure))

const confirmed = <E>(
  calls: Calls,
  outgoing: Outgoing,
  toError: (failure: Failure, subject: Errors.Subject) => E
): Effect.Effect<void, E | ProtocolError> =>
  execute(
    calls,
    outgoing,
    (result) => result._tag === "Failure" ? Effect.fail(toError(result.failure, subjectOf(outgoing))) : Effect.void
  )

const execute = <A, E>(
  calls: Calls,
  outgoing: Outgoing,
  read: (result: CallResult) => Effect.Effect<A, E>
): Effect.Effect<A, E | ProtocolError> =>
  Effect.suspend((): Effect.Effect<A, E | ProtocolError> => {
    const { channel, data, event, kind, timeout } = outgoing
    const encoded = Event.encode(event, data)
    if (Result.isFailure(encoded)) return Effect.fail(Errors.protocolError(encoded.failure))
    const dedupeKey = kind === "trigger" ? DedupeKey.make(event, data) : noKey
    if (Result.isFailure(dedupeKey)) return Effect.fail(Errors.protocolError(dedupeKey.failure))
    const call = { kind, event: event._tag, data: encoded.success, channel, timeout, dedupeKey: dedupeKey.success }
    return Trace.span(`Browser.${kind}`, () => spanOptions(call), (span) => {
      const traceparent = span === undefined || kind === "broadcast" ? undefined : Trace.toTraceparent(span)
      return Effect.flatMap(calls.call({ ...call, traceparent }), read)
    })
  })

const noKey = Result.succeed(undefined)

const subjectOf = ({ channel = "", event, kind, timeout }: Outgoing): Errors.Subject => ({
  operation: kind,
  event: event._tag,
  channel,
  timeout
})

// (Source: OpenTelemetry's semantic conventions for messaging.)
const spanOptions = ({ channel, event, kind }: Omit<Call, "_tag" | "call">): Tracer.SpanOptionsNoTrace => ({
  kind: kind === "request" ? "client" : "producer",
  attributes: {
    "messaging.system": "kosmonaut",
    "messaging.operation.type": "send",
    "messaging.operation.name": kind,
    ...event !== "" && { "kosmonaut.event": event },
    ...channel !== undefined && { "messaging.destination.name": channel }
  }
})
