/**
 * The handlers of events by their names on the wire, and what becomes of an event: it is handled, or somebody hears why
 * not. It fails then as well, so that the worker counts and traces it as what it is, and somebody there must go on.
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Event from "../../events/Event.ts"
import { InvalidEventNameError, type MessageDecodeError, UndefinedHandlerError } from "../../protocol/KosmonautError.ts"
import { type Message, withData } from "../Message.ts"
import type { ProtocolError } from "../Worker.ts"
import { brokerWasAway, forgiving, retried } from "./handler.ts"

/** What handles the messages of one event; each has a scope of its own. */
export type Handler = (message: Message<unknown>) => Effect.Effect<void, unknown, Scope.Scope>

/** An event and what handles it. */
export interface Route {
  readonly event: Event.Any
  readonly handle: Handler
}

/** The handlers of a router. */
export interface Routes {
  /** Adds handlers. That an event has two is a defect. */
  readonly add: (routes: ReadonlyArray<Route>) => Effect.Effect<void>
  /** The handlers, by the names of their events on the wire. */
  readonly all: ReadonlyMap<string, Route>
}

/** No handlers yet. */
export const make = Effect.sync((): Routes => {
  const all = new Map<string, Route>()
  return {
    all,
    add: (routes) =>
      Effect.suspend(() => {
        const twice = routes.find(({ event }) => all.has(event.wireName))
        if (twice !== undefined) return Effect.die(new Error(`The event ${twice.event.wireName} has two handlers`))
        for (const route of routes) all.set(route.event.wireName, route)
        return Effect.void
      })
  }
})

/** Why an event was not handled. */
export type RouterError = UndefinedHandlerError | InvalidEventNameError | MessageDecodeError | ProtocolError

/** Who gets what has no handler, and who hears of what goes wrong. */
export interface Hearers<R1, R2, R3> {
  readonly fallback?: ((message: Message) => Effect.Effect<void, unknown, R1>) | undefined
  readonly onError?: ((error: RouterError) => Effect.Effect<unknown, never, R2>) | undefined
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  readonly onException?:
    | ((cause: Cause.Cause<unknown>, message: Message) => Effect.Effect<unknown, never, R3>)
    | undefined
}

/** What becomes of events and of errors. */
export const dispatcher = <R1, R2, R3>(routes: Routes["all"], hearers: Hearers<R1, R2, R3>) => {
  const { fallback, onError = logError, onException = logException } = hearers
  const groups = [...new Set([...routes.values()].map(({ event }) => event.group))]

  const hear = (error: RouterError) => survived("onError", () => onError(error))
  const refuse = (error: RouterError, message: Message) =>
    Effect.andThen(Effect.annotateLogs(hear(error), about(message)), Effect.fail(error))
  const attempt = <R>(message: Message, handle: () => Effect.Effect<void, unknown, R>) =>
    Effect.tapCause(
      retried(forgiving(message, Effect.scoped(Effect.suspend(handle))), hearers.retry),
      (cause) => survived("onException", () => onException(cause, message))
    )

  const onMessage = (message: Message): Effect.Effect<void, unknown, Exclude<R1 | R2 | R3, Scope.Scope>> => {
    const route = routes.get(message.event)
    if (route !== undefined) {
      const data = Event.decode(route.event, message.data)
      return Result.isSuccess(data)
        ? attempt(message, () => route.handle(withData(message, data.success)))
        : refuse(data.failure, message)
    }
    if (fallback !== undefined) return attempt(message, () => fallback(message))
    const { event } = message
    // A router with handlers for some lifecycle events receives all of them; the others are ignored.
    if (event.startsWith(":")) return Effect.void
    return refuse(
      event.includes("/") ? new UndefinedHandlerError({ event, groups }) : new InvalidEventNameError({ event }),
      message
    )
  }
  return { onMessage, onError: hear }
}

// Error handlers cannot fail by their type, but they can die.
const survived = <R>(who: string, hear: () => Effect.Effect<unknown, never, R>) =>
  Effect.scoped(Effect.suspend(hear)).pipe(
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
