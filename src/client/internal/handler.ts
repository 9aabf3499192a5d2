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
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Tracer from "effect/Tracer"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import { BrowserNotFoundError, isRetryable, wasNotSent } from "../../protocol/KosmonautError.ts"
import * as Trace from "../../protocol/Trace.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Message } from "../Message.ts"
import type { Delivered } from "./deliveries.ts"
import { Expired, MaxResponseSize, Reply, replyUntyped } from "./handledRequest.ts"
import type { Handles } from "./handlerPool.ts"
import type { Arrived } from "./inbox.ts"

/**
 * Runs a handler on an event in a fiber of the pool, settles its delivery, and calls `onEnd` with the outcome; a `Reply` is the response
 * to a request. When the deadline of a request has passed, its handler is interrupted: the broker has failed the request.
 */
export const start = <A, E, R>(
  pool: Handles<R>,
  arrived: Arrived,
  message: Message,
  endpoint: Endpoint,
  handler: Effect.Effect<A, E, R>,
  onEnd: (outcome: Exit.Exit<unknown, E>) => void
): void => {
  const context = annotated(pool.context, message.event)
  const run = new Run<E>(arrived, message, context)
  const traced = Trace.isTraced({ context })
    ? Trace.span("Worker.handle", () => spanOptions(message, arrived.origin?.traceparent, endpoint), () => handler)
    : handler
  const fiber = pool.fork(
    Effect.onExit(run.expired ? Effect.interrupt : traced, (exit) => run.settle(exit)),
    (exit) => onEnd(run.outcome ?? exit),
    context
  )
  if (fiber !== undefined) run.expireLater(fiber)
}

/** Retries a handler on a schedule while its failures are worth it, and counts the retries. */
export const retried = <A, E, R>(
  handler: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, E> | undefined,
  isFinal: (error: E) => boolean
): Effect.Effect<A, E, R> =>
  schedule === undefined
    ? handler
    : Effect.retry(handler, {
      schedule: Schedule.tap(schedule, () => Metric.update(ClientMetrics.retries, 1)),
      until: isFinal
    })

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

// A class, since every event has one: its functions are made once.
class Run<E> {
  readonly arrived: Arrived
  readonly message: Message
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  readonly started: bigint
  /** Whether its deadline has passed. */
  expired: boolean
  timer: Fiber.Fiber<unknown> | undefined
  /** What has become of it, when it is settled. */
  outcome: Exit.Exit<unknown, E> | undefined

  constructor(arrived: Arrived, message: Message, context: Context.Context<never>) {
    this.arrived = arrived
    this.message = message
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.started = this.clock.monotonicTimeNanosUnsafe()
    this.expired = this.left() <= 0
  }
  // In milliseconds.
  private left(): number {
    const { deadline } = this.arrived
    return deadline === undefined ? Infinity : deadline - Number(this.started) / 1e6
  }
  expireLater(fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.arrived.deadline === undefined) return
    const expire = Effect.sync(() => {
      this.expired = true
      fiber.interruptUnsafe()
    })
    this.timer = Effect.runForkWith(this.context)(Effect.delay(expire, this.left()))
  }
  settle(exit: Exit.Exit<unknown, E>): Effect.Effect<void> {
    const { arrived: { delivery }, clock, context, started } = this
    this.timer?.interruptUnsafe()
    const outcome = this.expired ? Exit.succeed(new Expired(this.message.event)) : this.outcomeOf(exit)
    if (delivery !== undefined) settleUnsafe(delivery, outcome)
    ClientMetrics.eventsBy(nameOf(outcome)).updateUnsafe(1, context)
    ClientMetrics.eventSeconds.updateUnsafe(Number(clock.monotonicTimeNanosUnsafe() - started) / 1e9, context)
    this.outcome = outcome
    return outcome === exit || Exit.isFailure(outcome) ? Effect.void : this.explain(outcome.value)
  }
  // The exit, except that a response is encoded if a router has not done it, and that a browser which has disconnected is no failure.
  private outcomeOf(exit: Exit.Exit<unknown, E>): Exit.Exit<unknown, E> {
    const { arrived, context, message: { event } } = this
    if (Exit.isFailure(exit)) return hasDisconnected(exit.cause, this.message) ? Exit.void : exit
    if (arrived.deadline === undefined || exit.value instanceof Reply) return exit
    const reply = replyUntyped(event, exit.value, Context.get(context, MaxResponseSize))
    return Result.isSuccess(reply) ? Exit.succeed(reply.success) : Exit.die(reply.failure)
  }
  private explain(value: unknown): Effect.Effect<void> {
    return value instanceof Expired
      ? Effect.logDebug(value.error.message)
      : value instanceof Reply
      ? Effect.void
      : Effect.logDebug(`The browser ${this.message.sid} disconnected before it could be sent a reply`)
  }
}

const nameOf = (outcome: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(outcome)
    ? outcome.value instanceof Expired ? "interrupted" : "handled"
    : Exit.hasInterrupts(outcome)
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

/** Whether a handler failed only because the browser of its event has disconnected, which is no failure. */
export const hasDisconnected = ({ reasons }: Cause.Cause<unknown>, { sid }: Pick<Message, "sid">): boolean =>
  reasons.length > 0 && reasons.every((reason) => Cause.isFailReason(reason) && isDisconnected(reason.error, sid))

/** The same of one failure. */
export const isDisconnected = (error: unknown, sid: string | undefined): boolean =>
  error instanceof BrowserNotFoundError && error.sid === sid
