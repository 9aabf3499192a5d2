/**
 * Listens on a Worker and gives each event to its handler, with its data decoded by their Schema.
 *
 * The handlers are those of the group's `toLayer`: the router requires them by their types, so that a missing one is a
 * compile error. It is built once the worker is connected, or once its first attempt to connect has failed; it then goes on
 * trying. A token that is refused at the start fails the layer with `UnauthorizedError`, a broker
 * that is not trusted with `UntrustedBrokerError`; a token that is refused later, when the
 * worker reconnects, ends the router, which is logged as an error. Nothing else ends it but the closing of its scope, which
 * stops it as `Worker.listen` stops.
 *
 * Each event of a vhost goes to exactly one of its workers. So a backend has one router with all its groups, merged: a
 * second router on the same Worker is a defect. To share the work, run the same backend several times.
 *
 * **Example** (A router of two groups)
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Config, Effect, Layer, Schema } from "effect"
 * import { Client, Event, EventGroup, EventRouter, Kosmonaut } from "kosmonaut"
 *
 * class Chat extends EventGroup.make("chat", Event.make("say", { payload: { room: Schema.String, text: Schema.String } })) {}
 * class Game extends EventGroup.make("game", Event.make("left")) {}
 *
 * const ChatLive = Chat.toLayer(Effect.gen(function*() {
 *   const client = yield* Client.Client
 *   return Chat.of({
 *     say: ({ room, text }, { uid }) => client.broadcast(room, "said", { text, by: uid })
 *   })
 * }))
 * const GameLive = Game.toLayer({ left: (_data, { uid }) => Effect.log(`${uid} has left`) })
 *
 * EventRouter.layer(Chat.merge(Game)).pipe(
 *   Layer.provide([ChatLive, GameLive]),
 *   Layer.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
 *   Layer.launch,
 *   NodeRuntime.runMain
 * )
 * ```
 *
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Event from "../events/Event.ts"
import type * as EventGroup from "../events/EventGroup.ts"
import type { Message } from "../events/Message.ts"
import type {
  InvalidEventNameError,
  MessageDecodeError,
  ProtocolError,
  UnauthorizedError,
  UndefinedHandlerError,
  UntrustedBrokerError
} from "../protocol/KosmonautError.ts"
import * as ConnectionStates from "./ConnectionState.ts"
import * as Routes from "./internal/routes.ts"
import { Worker } from "./Worker.ts"

/**
 * Why an event was not handled: it has no handler (`UndefinedHandlerError`), its name has no group
 * (`InvalidEventNameError`), or its data do not fit their Schema (`MessageDecodeError`); or an error of the Worker.
 *
 * @since 0.1.0
 */
export type RouterError = UndefinedHandlerError | InvalidEventNameError | MessageDecodeError | ProtocolError

/**
 * The options of a router.
 *
 * @since 0.1.0
 */
export interface Options<out R1 = never, out R2 = never, out R3 = never> {
  /** Handles the events that no group has a handler for, whatever their names. Default: `onError` is called with them. */
  readonly fallback?: ((message: Message) => Effect.Effect<void, unknown, R1>) | undefined
  /** Called with what could not be handled. Default: a warning in the log. */
  readonly onError?: ((error: RouterError) => Effect.Effect<unknown, never, R2>) | undefined
  /**
   * When to run a handler again that has failed, before its event counts as failed; each time with a `Scope` of its own.
   * Default: not at all.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /**
   * Called with the failures and defects of handlers and of `fallback`; the router goes on, whatever it does. Default: an
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
  /** The state of its connection, which the router updates; `ConnectionState.make` makes one. */
  readonly state?: SubscriptionRef.SubscriptionRef<ConnectionStates.ConnectionState> | undefined
}

/**
 * A router for the events of a group, as a layer. Handlers run `concurrency` at a time, as the Worker is configured, each
 * with a `Scope` of its own.
 *
 * @since 0.1.0
 */
export const layer = <Group extends EventGroup.Any, R1 = never, R2 = never, R3 = never>(
  group: Group,
  options?: Options<R1, R2, R3>
): Layer.Layer<
  never,
  UnauthorizedError | UntrustedBrokerError,
  Worker | Event.ToHandler<EventGroup.EventsOf<Group>> | Exclude<R1 | R2 | R3, Scope.Scope>
> =>
  Layer.effectDiscard(
    Effect.flatMap(
      Effect.context<Event.ToHandler<EventGroup.EventsOf<Group>>>(),
      (context) => {
        const missing = Routes.missing(group, context)
        return missing === undefined
          ? listen(Routes.make(group, context), options)
          : Effect.die(
            new Error(
              `The event router has no handler of "${missing}": provide the layer that its group's toLayer gives`
            )
          )
      }
    )
  )

// A broker cannot route by the names of events: two routers on one Worker would receive each other's events.
const alone = (worker: Worker["Service"]) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      if (routed.has(worker)) {
        return Effect.die(
          new Error(
            "Two event routers on one Worker would receive each other's events. Have one for all groups: " +
              "EventRouter.layer(Chat.merge(Game))"
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
  const { onError, onMessage } = Routes.dispatcher(routes, options)
  const started = yield* Deferred.make<void, UnauthorizedError | UntrustedBrokerError>()
  const state = options.state ?? (yield* ConnectionStates.make)
  yield* SubscriptionRef.changes(state).pipe(
    Stream.filter(({ _tag }) => _tag === "Connected" || _tag === "Disconnected"),
    Stream.take(1),
    Stream.runForEach(() => Deferred.succeed(started, undefined)),
    Effect.forkScoped({ startImmediately: true })
  )
  const listening = worker.listen({
    lifecycle: options.lifecycle ?? Array.from(routes.keys()).some((name) => name.startsWith(":")),
    responses: Routes.hasRequests(routes),
    state,
    onError,
    onMessage,
    // The router has called its own.
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
