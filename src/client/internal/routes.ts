/**
 * The handlers of events by their names on the wire. An event is handled, or a callback is called with the reason why not; then
 * it fails as well, so that the worker counts and traces it as a failure.
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Event from "../../events/Event.ts"
import type * as EventGroup from "../../events/EventGroup.ts"
import type { Message } from "../../events/Message.ts"
import {
  InvalidEventNameError,
  type MessageDecodeError,
  type MessageEncodeError,
  type ProtocolError,
  UndefinedHandlerError
} from "../../protocol/KosmonautError.ts"
import { MaxResponseSize, reply } from "./handledRequest.ts"
import { brokerWasAway, checked, hasDisconnected, isDisconnected, retried } from "./handler.ts"

/** An event and its handler. */
export interface Route {
  readonly event: Event.Any
  readonly handle: (data: unknown, message: Message<unknown>) => Effect.Effect<unknown, unknown>
}

/** Handlers by the names of their events on the wire. */
export type Routes = ReadonlyMap<string, Route>

/** An event of a group whose handler is not in this context: possible only where types were not checked. */
export const missing = (group: EventGroup.Any, context: Context.Context<never>): string | undefined =>
  Object.values<Event.Any>(group.events).find(({ key }) => !context.mapUnsafe.has(key))?._tag

/** The handlers of a group's events, which are in this context. */
export const make = (group: EventGroup.Any, context: Context.Context<never>): Routes =>
  new Map(
    Object.values<Event.Any>(group.events).map((event) => {
      const implemented = context.mapUnsafe.get(event.key) as EventGroup.Implemented
      // An event has these of its own, and not those that its handler's layer was built in.
      const services = Context.omit(Scope.Scope, Tracer.ParentSpan, References.CurrentLogAnnotations)(
        implemented.context
      )
      const withServices = cached((context) => Context.merge(context, services))
      const handle: Route["handle"] = (data, message) =>
        Effect.updateContext(
          Effect.scoped(Effect.suspend(() => checked(event._tag, implemented.handler(data, message)))),
          withServices
        )
      return [event._tag, { event, handle }]
    })
  )

// Consecutive events are mostly handled in the same context, and merging two costs as much as the other work for an event.
const cached = (make: (context: Context.Context<never>) => Context.Context<never>): typeof make => {
  let known: { readonly context: Context.Context<never>; readonly made: Context.Context<never> } | undefined
  return (context) => {
    if (known?.context !== context) known = { context, made: make(context) }
    return known.made
  }
}

/** Whether one of the events is a request. */
export const hasRequests = (routes: Routes): boolean =>
  Array.from(routes.values()).some(({ event }) => Event.isRequest(event))

/** Why an event was not handled. */
export type RouterError = UndefinedHandlerError | InvalidEventNameError | MessageDecodeError | ProtocolError

/** What is called for events without a handler, and for errors. */
export interface Callbacks<R1, R2, R3> {
  readonly fallback?: ((message: Message) => Effect.Effect<void, unknown, R1>) | undefined
  readonly onError?: ((error: RouterError) => Effect.Effect<unknown, never, R2>) | undefined
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  readonly onException?:
    | ((cause: Cause.Cause<unknown>, message: Message) => Effect.Effect<unknown, never, R3>)
    | undefined
}

/** What becomes of events and of errors. */
export const dispatcher = <R1, R2, R3>(routes: Routes, callbacks: Callbacks<R1, R2, R3>) => {
  const { fallback, onError = logError, onException = logException } = callbacks
  const groups = [...new Set(Array.from(routes.keys(), groupOf))]

  const report = (error: RouterError) => survived("onError", () => onError(error))
  const refuse = (error: RouterError, message: Message) =>
    Effect.andThen(Effect.annotateLogs(report(error), about(message)), Effect.fail(error))
  const attempt = makeAttempt(callbacks.retry, onException)

  const onMessage = (message: Message): Effect.Effect<unknown, unknown, Exclude<R1 | R2 | R3, Scope.Scope>> => {
    const route = routes.get(message.event)
    if (route !== undefined) {
      const data = Event.decode(route.event, message.data)
      return Result.isSuccess(data)
        ? attempt(message, route.handle(data.success, { ...message, data: data.success }), route.event)
        : refuse(data.failure, message)
    }
    // What it returns is no response.
    if (fallback !== undefined) {
      return attempt(
        message,
        Effect.scoped(Effect.suspend(() => Effect.asVoid(fallback(message))))
      )
    }
    const { event } = message
    // A router with handlers for some lifecycle events receives all of them; the others are ignored.
    if (event.startsWith(":")) return Effect.void
    return refuse(
      event.includes("/") ? new UndefinedHandlerError({ event, groups }) : new InvalidEventNameError({ event }),
      message
    )
  }
  return { onMessage, onError: report }
}

// Runs a handler; what has become of it is a response, if it was a request.
const makeAttempt = <R3>(
  retry: Callbacks<never, never, R3>["retry"],
  onException: NonNullable<Callbacks<never, never, R3>["onException"]>
) => {
  const failed = (cause: Cause.Cause<unknown>, message: Message) => {
    const failure = Effect.failCause(cause)
    return hasDisconnected(cause, message)
      ? failure
      : Effect.andThen(survived("onException", () => onException(cause, message)), failure)
  }
  // Its declared error is a response, and no failure. If the request was triggered as an event, its outcome is dropped.
  const respond = (message: Message, event: Event.Any, outcome: "ok" | "error", encoded: Encoded) =>
    Effect.withFiber((fiber) => {
      const response = reply(event._tag, outcome, encoded, fiber.getRef(MaxResponseSize))
      return Result.isSuccess(response)
        ? Effect.succeed(response.success)
        : failed(Cause.fail(response.failure), message)
    })
  return <R>(message: Message, once: Effect.Effect<unknown, unknown, R>, event?: Event.Any) => {
    const { isRequest } = message
    const request = event !== undefined && (isRequest || Event.isRequest(event)) ? event : undefined
    return Effect.matchCauseEffect(retried(once, retry, (error) => isFinal(message, request, error)), {
      onSuccess: (value) =>
        request !== undefined && isRequest
          ? respond(message, request, "ok", Event.encodeSuccess(request, value))
          : Effect.succeed(value),
      onFailure: (cause) => {
        const declared = request === undefined ? undefined : declaredError(request, cause)
        if (declared === undefined) return failed(cause, message)
        return isRequest ? respond(message, request!, "error", declared) : Effect.void
      }
    })
  }
}

// Whether to run a handler again would be of no use.
const isFinal = ({ sid }: Message, request: Event.Any | undefined, error: unknown): boolean =>
  isDisconnected(error, sid) || request !== undefined && Result.isSuccess(Event.encodeError(request, error))

/** A value as JSON. */
type Encoded = Result.Result<string, MessageEncodeError>

// The error with which a request has failed, if its event declares it.
const declaredError = (event: Event.Any, cause: Cause.Cause<unknown>): Encoded | undefined => {
  const error = Cause.findError(cause)
  if (Result.isFailure(error)) return undefined
  const encoded = Event.encodeError(event, error.success)
  return Result.isSuccess(encoded) ? encoded : undefined
}

const groupOf = (event: string): string => event.slice(0, Math.max(0, event.indexOf("/")))

// The callbacks cannot fail by their types, but can with a defect.
const survived = <R>(who: string, handle: () => Effect.Effect<unknown, never, R>) =>
  Effect.scoped(Effect.suspend(handle)).pipe(
    Effect.catchCause((cause) => Effect.logError(`${who} failed`, cause)),
    Effect.asVoid
  )

const logError = (error: RouterError) => Effect.logWarning(error.message)

// An unreachable broker is one log line, because nothing is wrong with the handler.
const logException = (cause: Cause.Cause<unknown>, message: Message) => {
  const handler = `The handler of ${JSON.stringify(message.event.slice(0, 100))}`
  const error = Cause.squash(cause)
  return Effect.annotateLogs(
    brokerWasAway(cause) && error instanceof Error
      ? Effect.logWarning(`${handler} is run again later: ${error.message}`)
      : Effect.logError(`${handler} failed`, cause),
    about(message)
  )
}

// Finds the event in other logs and among the dead letters.
const about = ({ attempt, id, sid, uid }: Message): Record<string, unknown> => ({
  "kosmonaut.id": id,
  "kosmonaut.attempt": attempt,
  ...sid !== undefined && { "kosmonaut.sid": sid },
  ...uid !== undefined && { "kosmonaut.uid": uid }
})
