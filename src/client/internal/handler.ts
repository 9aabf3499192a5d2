/**
 * Runs the handler of an event with a span, whose parent is that of the trigger, with metrics, and with the event's name on logs.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import type * as Tracer from "effect/Tracer"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import { BrowserNotFoundError, isRetryable, wasNotSent } from "../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Trace from "../../protocol/Trace.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Message } from "../Message.ts"
import type { Delivered } from "./deliveries.ts"
import { Expired, Reply } from "./handledRequest.ts"
import type { Arrived } from "./inbox.ts"

/** Runs a handler on an event in this fiber, and settles its delivery; a `Reply` is the response to a request. */
export const run = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  { delivery, origin }: Arrived,
  message: Message,
  endpoint: Endpoint,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const traced = Trace.isTraced(fiber)
    ? Trace.span("Worker.handle", () => spanOptions(message, origin?.traceparent, endpoint), () => handler)
    : handler
  const context = (context: Context.Context<R>) => annotated(context, message.event)
  return measured(fiber, Effect.updateContext(traced, context), delivery)
}

/** Retries a handler on a schedule, and counts the retries. */
export const retried = <A, E, R>(
  handler: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, E> | undefined
): Effect.Effect<A, E, R> =>
  schedule === undefined
    ? handler
    : Effect.retry(handler, Schedule.tap(schedule, () => Metric.update(ClientMetrics.retries, 1)))

/** Checks that a handler returned an Effect. Anything else would end the fiber silently. */
export const checked = <A, E, R>(event: string, given: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  if (Effect.isEffect(given)) return given
  const what = (given as unknown) instanceof Promise
    ? "a Promise: wrap it in Effect.promise or Effect.tryPromise"
    : "something that is no Effect"
  return Effect.die(new Error(`The handler of ${JSON.stringify(event.slice(0, 100))} gave ${what}`))
}

// The context that annotates logs with the event. The last one is cached: consecutive events mostly have the same name, and
// making a context costs more than most of the other work for an event.
const annotated = <R>(context: Context.Context<R>, event: string): Context.Context<R> => {
  const known = lastAnnotated.get(context)
  if (known !== undefined && known.event === event) return known.context as Context.Context<R>
  const annotations = { ...Context.get(context, References.CurrentLogAnnotations), "kosmonaut.event": event }
  const added = Context.add(context, References.CurrentLogAnnotations, annotations)
  lastAnnotated.set(context, { event, context: added })
  return added
}

const lastAnnotated = new WeakMap<
  Context.Context<never>,
  { readonly event: string; readonly context: Context.Context<never> }
>()

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

const measured = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  handler: Effect.Effect<A, E, R>,
  delivery: Delivered | undefined
): Effect.Effect<A, E, R> => {
  const clock = fiber.getRef(Clock.Clock)
  const started = clock.monotonicTimeNanosUnsafe()
  return Effect.onExit(handler, (exit) => {
    if (delivery !== undefined) settleUnsafe(delivery, exit)
    const outcome = outcomeOf(exit)
    eventsBy(outcome).updateUnsafe(1, fiber.context)
    const seconds = Number(clock.monotonicTimeNanosUnsafe() - started) / 1e9
    ClientMetrics.eventSeconds.updateUnsafe(seconds, fiber.context)
    return Effect.void
  })
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit)
    ? exit.value instanceof Expired ? "interrupted" : "handled"
    : Exit.hasInterrupts(exit)
    ? "interrupted"
    : "failed"

// If the broker was unreachable, no worker could have handled the event: it is released and does not become a dead letter.
const settleUnsafe = (delivery: Delivered, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) {
    if (exit.value instanceof Reply) delivery.respondUnsafe(exit.value.outcome, exit.value.json)
    else if (exit.value instanceof Expired) delivery.nackUnsafe(exit.value.error)
    else delivery.acknowledgeUnsafe()
  } else if (Exit.hasInterrupts(exit) || brokerWasAway(exit.cause)) delivery.releaseLaterUnsafe()
  else delivery.nackUnsafe(Cause.squash(exit.cause))
}

/**
 * Whether a handler failed only because the broker was unreachable or did not respond: every failure is a
 * `ConnectionError` or a `RequestTimeoutError`, as those of a Client are, and none is a defect. A response that could not be
 * read (`MalformedMessageError`) would not be readable the next time either. A broker that is not trusted was sent nothing.
 */
export const brokerWasAway = ({ reasons }: Cause.Cause<unknown>): boolean =>
  reasons.length > 0 &&
  reasons.every((reason) => Cause.isFailReason(reason) && (isRetryable(reason.error) || wasNotSent(reason.error)))

/** Ignores the failure to reply to the browser of the event if it has disconnected. */
export const forgiving = <A, E, R>(
  { sid }: Pick<Message, "sid">,
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A | void, E, R> =>
  Effect.catchCauseIf(
    handler,
    ({ reasons }) =>
      reasons.length > 0 && reasons.every((reason) =>
        Cause.isFailReason(reason) && reason.error instanceof BrowserNotFoundError && reason.error.sid === sid
      ),
    () => Effect.logDebug(`The browser ${sid} disconnected before it could be sent a reply`)
  )

const eventsBy = MetricFamily.make(ClientMetrics.events, "outcome")
