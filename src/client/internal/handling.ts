/**
 * One event with its handler: its span, which goes on from the trigger's, its metrics, and its name on what is logged.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Tracer from "effect/Tracer"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Trace from "../../protocol/Trace.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Message } from "../Message.ts"

/** Runs a handler on a message; `traceparent` is the span that the event belongs to. */
export const run = <A, E, R>(
  message: Message,
  traceparent: string | undefined,
  endpoint: Endpoint,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Trace.span("Worker.handle", () => spanOptions(message, traceparent, endpoint), () => handler).pipe(
    Effect.annotateLogs("kosmonaut.event", message.event),
    measured
  )

// (Source: OpenTelemetry's semantic conventions for messaging.)
const spanOptions = (
  message: Message,
  traceparent: string | undefined,
  endpoint: Endpoint
): Tracer.SpanOptionsNoTrace => {
  const parent = Trace.fromTraceparent(traceparent)
  return {
    kind: "consumer",
    ...parent === undefined ? { root: true } : { parent },
    attributes: {
      "messaging.system": "kosmonaut",
      "messaging.operation.type": "process",
      "messaging.operation.name": "handle",
      "server.address": endpoint.host,
      "server.port": endpoint.port,
      "kosmonaut.vhost": endpoint.vhost,
      "kosmonaut.event": message.event,
      "kosmonaut.attempt": message.attempt,
      ...message.channel !== undefined && { "messaging.destination.name": message.channel }
    }
  }
}

const measured = <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const started = clock.currentTimeNanosUnsafe()
    return Effect.onExit(handler, (exit) =>
      Effect.sync(() => {
        const outcome = Exit.isSuccess(exit) ? "handled" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
        eventsBy(outcome).updateUnsafe(1, fiber.context)
        ClientMetrics.eventSeconds.updateUnsafe(
          Number(clock.currentTimeNanosUnsafe() - started) / 1e9,
          fiber.context
        )
      }))
  })

const eventsBy = MetricFamily.make(ClientMetrics.events, "outcome")
