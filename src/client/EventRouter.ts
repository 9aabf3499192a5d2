/**
 * Gives every event to the handler that its group and name say, with its data read by their Schema.
 *
 * A router listens on a Worker as long as its layer lives. It is built once the worker has been greeted by its broker, or
 * once its first attempt to connect has failed; it then goes on trying. A token that is refused at the start fails the
 * layer with `UnauthorizedError`; one that is refused later, at a reconnect, ends the router, which is logged as an error.
 * Nothing else ends it but the closing of its scope, and that finishes what was received, as `Worker.listen` does.
 *
 * Every event of a vhost goes to exactly one of its workers. So a backend has one router, with all its groups: two beside
 * each other would get each other's events, and on one Worker the second is a defect. Running the same backend many times is what shares the work.
 *
 * A group has a handler for each of its events. So what a backend broadcasts is as a rule a group of its own, which a
 * `Channel` names.
 *
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type * as Event from "../events/Event.ts"
import type * as EventGroup from "../events/EventGroup.ts"
import type {
  InvalidEventNameError,
  MessageDecodeError,
  UnauthorizedError,
  UndefinedHandlerError
} from "../protocol/KosmonautError.ts"
import { checked } from "./internal/handler.ts"
import * as Routes from "./internal/routes.ts"
import type { Message } from "./Message.ts"
import { type ProtocolError, Worker } from "./Worker.ts"

/**
 * The handlers of a group: a function for each of its events, and no other.
 *
 * @since 0.1.0
 */
export type Handlers<Group extends EventGroup.Any> = {
  readonly [Name in keyof Group["events"]]: (
    message: Message<Event.Data<Group["events"][Name]>>
  ) => Effect.Effect<void, unknown, unknown>
}

/**
 * Why an event was not handled: nobody has a handler for it (`UndefinedHandlerError`), its name has no group
 * (`InvalidEventNameError`), or its data do not fit their Schema (`MessageDecodeError`); or what the Worker tells.
 *
 * @since 0.1.0
 */
export type RouterError = UndefinedHandlerError | InvalidEventNameError | MessageDecodeError | ProtocolError

/**
 * What a router can be told.
 *
 * @since 0.1.0
 */
export interface Options<out R1 = never, out R2 = never, out R3 = never> {
  /** Gets the events that no group has a handler for, whatever their names. Where it is absent, `onError` hears of them. */
  readonly fallback?: ((message: Message) => Effect.Effect<void, unknown, R1>) | undefined
  /** Hears of what could not be handled. Default: a warning in the log. */
  readonly onError?: ((error: RouterError) => Effect.Effect<unknown, never, R2>) | undefined
  /**
   * When to run a handler again that has failed, before its event counts as failed; each time with a `Scope` of its own.
   * Default: not at all.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /**
   * Hears of the failures and defects of handlers and of `fallback`; the router goes on, whatever it does. Default: an
   * error in the log, with the event's name and the cause.
   */
  readonly onException?:
    | ((cause: Cause.Cause<unknown>, message: Message) => Effect.Effect<unknown, never, R3>)
    | undefined
  /**
   * Whether to take lifecycle events, too; default yes where a group of `Lifecycle` is handled, otherwise no. Those without
   * a handler go to `fallback`, and are ignored where it is absent.
   */
  readonly lifecycle?: boolean | undefined
}

/**
 * The router that groups are registered with, while it is built.
 *
 * @since 0.1.0
 */
export class EventRouter extends Context.Service<EventRouter, Routes.Routes>()("kosmonaut/client/EventRouter") {}

/**
 * Handles the events of one group.
 *
 * Handlers run `concurrency` at a time, as the Worker was told. What they need is taken from where the layer is built,
 * except a `Scope`: each event has its own, which is closed when its handler ends. `handlers` may be an effect that makes
 * them, and holds what they share for as long as the layer lives.
 *
 * **Example** (Handling the events of a group)
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Config, Effect, Layer, Schema } from "effect"
 * import { Client, EventGroup, EventRouter, Kosmonaut } from "kosmonaut"
 *
 * class Chat extends EventGroup.make("chat", {
 *   say: { room: Schema.String, text: Schema.String },
 *   left: {}
 * }) {}
 *
 * const Handlers = EventRouter.layer(
 *   Chat,
 *   Effect.gen(function*() {
 *     const client = yield* Client.Client
 *     return {
 *       say: ({ data }) => client.broadcast(data.room, "chat/said", { text: data.text }),
 *       left: ({ sid }) => Effect.log(`${sid} has left`)
 *     }
 *   })
 * )
 *
 * Handlers.pipe(
 *   Layer.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
 *   Layer.launch,
 *   NodeRuntime.runMain
 * )
 * ```
 *
 * @since 0.1.0
 */
export const layer = <
  Group extends EventGroup.Any,
  H extends Handlers<Group>,
  E = never,
  R = never,
  R1 = never,
  R2 = never,
  R3 = never
>(
  events: Group,
  handlers: Exactly<Group, H> | Effect.Effect<Exactly<Group, H>, E, R>,
  options?: Options<R1, R2, R3>
): Layer.Layer<
  never,
  E | UnauthorizedError,
  Needed<EventRouter | Exclude<R | ServicesOf<H>, Scope.Scope>, R1 | R2 | R3>
> => serve(group<Group, H, E, R>(events, handlers), options)

/**
 * Registers a group with the router that `serve` makes, to be merged with others. Groups of the same name are one as long
 * as no event is in both, which is a defect.
 *
 * @since 0.1.0
 */
export const group = <Group extends EventGroup.Any, H extends Handlers<Group>, E = never, R = never>(
  events: Group,
  handlers: Exactly<Group, H> | Effect.Effect<Exactly<Group, H>, E, R>
): Layer.Layer<never, E, EventRouter | Exclude<R | ServicesOf<H>, Scope.Scope>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const router = yield* EventRouter
    const services = yield* Effect.context<ServicesOf<H>>()
    // An event has these of its own, and not those that the layer is built in.
    const provided = Context.omit(Scope.Scope, Tracer.ParentSpan, References.CurrentLogAnnotations)(services)
    // The data of a message that a handler gets are its event's: that is what a route is for.
    const made = (Effect.isEffect(handlers) ? yield* handlers : handlers) as Readonly<Record<string, Routes.Handler>>
    yield* router.add(
      Object.entries(events.events).map(([name, event]) => ({
        event,
        handle: (message) => Effect.provideContext(checked(event.wireName, made[name]!(message)), provided)
      }))
    )
  }))

/**
 * Listens, once all groups have been registered.
 *
 * **Example** (A router of two groups)
 *
 * ```ts
 * const Router = EventRouter.serve(
 *   Layer.mergeAll(EventRouter.group(Chat, chatHandlers), EventRouter.group(Game, gameHandlers)),
 *   { fallback: ({ event }) => Effect.logWarning(`Nobody handles ${event}`) }
 * )
 * ```
 *
 * @since 0.1.0
 */
export const serve = <E, R, R1 = never, R2 = never, R3 = never>(
  groups: Layer.Layer<never, E, R>,
  options?: Options<R1, R2, R3>
): Layer.Layer<never, E | UnauthorizedError, Needed<R, R1 | R2 | R3>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const router = yield* Routes.make
    // In a memory of its own, as each router is another to register with.
    yield* Layer.build(Layer.provide(groups, Layer.succeed(EventRouter, router)))
    yield* listen(router, options)
  }))

// Two routers on one worker would get each other's events, which nobody wants: better to say so at once.
const alone = (worker: Worker["Service"]) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      if (routed.has(worker)) {
        return Effect.die(
          new Error(
            "Two event routers on one Worker would get each other's events. Have one for all groups: " +
              "EventRouter.serve(Layer.mergeAll(EventRouter.group(…), EventRouter.group(…)))"
          )
        )
      }
      routed.add(worker)
      return Effect.void
    }),
    () => Effect.sync(() => routed.delete(worker))
  )
const routed = new WeakSet<Worker["Service"]>()

// Returns when it is connected, or trying.
const listen = Effect.fnUntraced(function*<R1, R2, R3>(routes: Routes.Routes, options: Options<R1, R2, R3> = {}) {
  const worker = yield* Worker
  yield* alone(worker)
  const { onError, onMessage } = Routes.dispatcher(routes.all, options)
  const started = yield* Deferred.make<void, UnauthorizedError>()
  yield* worker.changes.pipe(
    Stream.filter(({ _tag }) => _tag === "Connected" || _tag === "Disconnected"),
    Stream.take(1),
    Stream.runForEach(() => Deferred.succeed(started, undefined)),
    Effect.forkScoped({ startImmediately: true })
  )
  const listening = worker.listen({
    lifecycle: options.lifecycle ?? Array.from(routes.all.keys()).some((name) => name.startsWith(":")),
    onError,
    onMessage: (_event, _data, message) => onMessage(message),
    // Those who hear of it have.
    onException: () => Effect.void
  })
  yield* listening.pipe(
    Effect.catchCause((cause) =>
      Effect.flatMap(
        Deferred.failCause(started, cause),
        (atStart) => atStart ? Effect.void : Effect.logError(ended, cause)
      )
    ),
    Effect.forkScoped
  )
  yield* Deferred.await(started)
})

const ended = "The event router has ended: no more events are handled here until its layer is built again"

// `Effect<number>` can be assigned to `Effect<void>`, so what a handler gives is looked at by itself.
type Exactly<Group extends EventGroup.Any, H> =
  & H
  & {
    readonly [Name in keyof H]: Name extends keyof Group["events"] ?
      H[Name] extends Returns<infer A>
        ? [A] extends [void] ? unknown : "A handler's effect gives nothing: end it with Effect.asVoid"
      : unknown
      : "The group has no such event"
  }

type Returns<A> = (...args: never) => Effect.Effect<A, unknown, unknown>

type Needed<Groups, Hearers> =
  | Worker
  | Exclude<Exclude<Groups, EventRouter> | Exclude<Hearers, Scope.Scope>, Scope.Scope>

type ServicesOf<H> = H[keyof H] extends (...args: never) => Effect.Effect<unknown, unknown, infer R> ? R : never
