/**
 * What consumes events: streams and handlers of declared events, decoded by their Schemas.
 *
 * An event that does not fit its Schema is reported once, whoever else decodes it, and left out.
 */

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Event from "../../../events/Event.ts"
import { EventHandlerError, type ReportedError } from "../../BrowserError.ts"
import type { AnyOf, BrowserEvent, Events } from "../../Subscription.ts"
import type { EventBuffer, Received } from "./eventBuffer.ts"
import type { EventHub } from "./eventHub.ts"

/** Called with what no consumer fails with. */
export type Report = (error: ReportedError) => void

/** A handler of an event. */
export type Handler = (data: never, event: never) => Effect.Effect<unknown, unknown, unknown>

/** The events of a hub that are declared, as a stream. */
export const stream = <E extends Events>(
  hub: EventHub,
  events: E,
  channel: string | undefined,
  report: Report
): Stream.Stream<AnyOf<E>> => {
  const declared = byWireName(events)
  return Stream.unwrap(Effect.map(hub.open(new Set(declared.keys())), (buffer) => {
    const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<BrowserEvent>, Cause.Done> = Effect.flatMap(
      buffer.pull,
      (batch) => {
        const decoded = Arr.filterMap(batch, (received) => decode(declared, received, channel, report))
        return Arr.isArrayNonEmpty(decoded) ? Effect.succeed(decoded) : pull
      }
    )
    return Stream.fromPull(Effect.succeed(pull))
  })) as Stream.Stream<AnyOf<E>>
}

/** Handles events of a hub, one after the other, in a fiber of the scope. From when this has ended none is missed. */
export const handle = Effect.fnUntraced(function*(
  hub: EventHub,
  events: Events,
  handlers: { readonly [name: string]: Handler | undefined },
  channel: string | undefined,
  report: Report
): Effect.fn.Return<void, never, unknown> {
  const handled = Object.entries(events).filter(([name]) => handlers[name] !== undefined)
  const declared = byWireName(Object.fromEntries(handled))
  const buffer = yield* hub.open(new Set(declared.keys()))
  const run = (event: BrowserEvent): Effect.Effect<void, never, unknown> =>
    Effect.suspend(() => handlers[event.event]!(event.data as never, event as never)).pipe(
      Effect.catchCause((cause) =>
        Effect.sync(() => report(new EventHandlerError({ event: event.event, cause: Cause.squash(cause) })))
      ),
      Effect.asVoid
    )
  yield* Effect.forkScoped(Pull.catchDone(handleAll(buffer, declared, channel, report, run), () => Effect.void))
})

const handleAll = Effect.fnUntraced(function*(
  buffer: EventBuffer,
  declared: Declared,
  channel: string | undefined,
  report: Report,
  run: (event: BrowserEvent) => Effect.Effect<void, never, unknown>
): Effect.fn.Return<never, Cause.Done, unknown> {
  while (true) {
    for (const received of yield* buffer.pull) {
      const event = decode(declared, received, channel, report)
      if (Result.isSuccess(event)) yield* run(event.success)
    }
  }
})

type Declared = ReadonlyMap<string, readonly [name: string, event: Event.Any]>

const byWireName = (events: Events): Declared =>
  new Map(Object.entries(events).map(([name, event]) => [event._tag, [name, event]]))

const decode = (
  declared: Declared,
  received: Received,
  channel: string | undefined,
  report: Report
): Result.Result<BrowserEvent, void> => {
  const [name, event] = declared.get(received.event)!
  if (received.decoded?.by !== event) {
    const data = Event.decode(event, received.data)
    if (Result.isFailure(data)) report(data.failure)
    received.decoded = { by: event, data }
  }
  const { data: raw, decoded: { data } } = received
  if (Result.isFailure(data)) return Result.failVoid
  return Result.succeed({
    event: name,
    data: data.success,
    raw,
    channel,
    sid: channel !== undefined && typeof raw.sid === "string" ? raw.sid : undefined,
    cursor: received.cursor
  })
}
