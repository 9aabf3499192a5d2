/**
 * What the compiler promises about routers. `tsc` checks this file; nothing runs it. What it refuses, Effect's diagnostics
 * would refuse once more.
 */
// @effect-diagnostics missingLayerContext:off missingEffectError:off missingEffectContext:off
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { expectTypeOf } from "vitest"
import {
  Event,
  EventGroup,
  EventRouter,
  type KosmonautError,
  Lifecycle,
  type Message,
  type Worker
} from "../../src/index.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { room: Schema.String, at: Schema.Date } }),
  Event.make("left")
) {}
class Game extends EventGroup.make("game", Event.make("move", { payload: { x: Schema.Number } })) {}

class Store extends Context.Service<Store, {
  readonly keep: (text: string) => Effect.Effect<void, "full">
}>()("test/Store") {}
class Log extends Context.Service<Log, { readonly say: Effect.Effect<void> }>()("test/Log") {}

type Say = { readonly room: string; readonly at: Date }
type ChatHandlers = Event.Handler<"chat/say"> | Event.Handler<"chat/left">

const left = () => Effect.void

// --- What is inferred ------------------------------------------------------------------------------------------------

const ChatLive = Chat.toLayer({
  say: (data, message) => {
    expectTypeOf(data).toEqualTypeOf<Say>()
    expectTypeOf(message).toEqualTypeOf<Message.Message<Say>>()
    return Store.use((store) => store.keep(data.room))
  },
  left: () => Log.use((log) => log.say)
})
expectTypeOf(ChatLive).toEqualTypeOf<Layer.Layer<ChatHandlers, never, Store | Log>>()

// Handlers that an effect makes: its failures and needs are the layer's, and what it acquires lives as long.
const ChatMade = Chat.toLayer(Effect.gen(function*() {
  const store = yield* Store
  yield* Effect.addFinalizer(() => Effect.void)
  if (store === undefined) return yield* Effect.fail("no store" as const)
  return Chat.of({
    say: (data) => {
      expectTypeOf(data.at).toEqualTypeOf<Date>()
      return store.keep(data.room)
    },
    left: () => Effect.andThen(Log, (log) => log.say)
  })
}))
expectTypeOf(ChatMade).toEqualTypeOf<Layer.Layer<ChatHandlers, "no store", Store | Log>>()

const GameLive = Game.toLayer({ move: () => Effect.void })
expectTypeOf(GameLive).toEqualTypeOf<Layer.Layer<Event.Handler<"game/move">>>()

// A router requires the handlers of its groups.
expectTypeOf(EventRouter.layer(Game)).toEqualTypeOf<
  Layer.Layer<
    never,
    KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
    Worker.Worker | Event.Handler<"game/move">
  >
>()
const both = EventRouter.layer(Chat.merge(Game))
expectTypeOf(both).toEqualTypeOf<
  Layer.Layer<
    never,
    KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
    Worker.Worker | ChatHandlers | Event.Handler<"game/move">
  >
>()
expectTypeOf(both.pipe(Layer.provide([ChatMade, GameLive]))).toEqualTypeOf<
  Layer.Layer<
    never,
    "no store" | KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
    Worker.Worker | Store | Log
  >
>()

// Each event has a Scope of its own, so no handler requires one of the layer.
const scoped = (_: unknown): Effect.Effect<void, never, Scope.Scope | Store> => Effect.void
expectTypeOf(Game.toLayer({ move: scoped })).toEqualTypeOf<Layer.Layer<Event.Handler<"game/move">, never, Store>>()

expectTypeOf(EventRouter.layer(Game, {
  fallback: (message) => {
    expectTypeOf(message).toEqualTypeOf<Message.Message>()
    return Effect.andThen(Store, (store) => store.keep(message.event))
  },
  onError: (error) => {
    expectTypeOf(error).toEqualTypeOf<EventRouter.RouterError>()
    return Log.use((log) => log.say)
  },
  onException: (_, { event }) => Effect.andThen(Effect.logError(event), Effect.asVoid(Effect.scope))
})).toEqualTypeOf<
  Layer.Layer<
    never,
    KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
    Worker.Worker | Event.Handler<"game/move"> | Store | Log
  >
>()

// Lifecycle events are events.
expectTypeOf(Lifecycle.Members.toLayer({
  memberJoined: (data) => {
    expectTypeOf(data.uid).toEqualTypeOf<string>()
    return Effect.void
  },
  memberLeft: () => Effect.void
})).toEqualTypeOf<
  Layer.Layer<Event.Handler<":lifecycle/memberJoined"> | Event.Handler<":lifecycle/memberLeft">>
>()

// --- What is refused -------------------------------------------------------------------------------------------------

// @ts-expect-error a handler is missing
Chat.toLayer({ say: () => Effect.void })
// @ts-expect-error a handler is misspelt
Chat.toLayer({ sey: () => Effect.void, left })
// @ts-expect-error a handler is of no event
Chat.toLayer({ say: () => Effect.void, left, gone: () => Effect.void })
// @ts-expect-error nor may an effect make one
Chat.toLayer(Effect.succeed({ say: () => Effect.void, left, gone: () => Effect.void }))
// @ts-expect-error nor forget one
Chat.toLayer(Effect.succeed({ say: () => Effect.void }))
// @ts-expect-error a handler of a lifecycle event is missing
Lifecycle.Members.toLayer({ memberJoined: () => Effect.void })

// @ts-expect-error the data have no such field
Chat.toLayer({ say: (data) => Effect.log(data.rom), left })
// @ts-expect-error a field is used as what it is not
Chat.toLayer({ say: (data) => Effect.log(data.at.toUpperCase()), left })
// @ts-expect-error a handler wants other data
Chat.toLayer({ say: (_: { readonly room: number }) => Effect.void, left })
// @ts-expect-error a handler wants a message with other data
Chat.toLayer({ say: (_: Say, _message: Message.Message<{ readonly room: number }>) => Effect.void, left })

// @ts-expect-error a handler gives a Promise
Chat.toLayer({ say: () => Promise.resolve(), left })
// @ts-expect-error a handler gives a plain value
Chat.toLayer({ say: () => "said", left })
// @ts-expect-error a handler gives nothing at all
Chat.toLayer({ say: () => {}, left })
// @ts-expect-error a handler's effect gives something
Chat.toLayer({ say: () => Effect.succeed(1), left })
// @ts-expect-error a handler's effect is one that is never run
Chat.toLayer({ say: () => Effect.succeed(Effect.void), left })

// @ts-expect-error no handlers are provided
EventRouter.layer(Game) satisfies Layer.Layer<
  never,
  KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
  Worker.Worker
>
// @ts-expect-error the handlers of one of the groups are not provided
both.pipe(Layer.provide(GameLive)) satisfies Layer.Layer<
  never,
  KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
  Worker.Worker
>
const prefixed = EventRouter.layer(Game.prefix("v2."))
// @ts-expect-error the handlers are those of a group with another name
prefixed.pipe(Layer.provide(GameLive)) satisfies Layer.Layer<
  never,
  KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
  Worker.Worker
>
// @ts-expect-error what the handlers of a group need is not provided
EventRouter.layer(Chat).pipe(Layer.provide(ChatLive)) satisfies Layer.Layer<
  never,
  KosmonautError.UnauthorizedError | KosmonautError.UntrustedBrokerError,
  Worker.Worker
>
// @ts-expect-error onError does not fail
EventRouter.layer(Game, { onError: (error) => Effect.fail(error) })
// @ts-expect-error onException does not fail
EventRouter.layer(Game, { onException: (cause) => Effect.failCause(cause) })

// --- Requests ----------------------------------------------------------------------------------------------------------

class Asked extends EventGroup.make(
  "asked",
  Event.make("count", { success: Schema.Int, error: Schema.Literal("empty") })
) {}

expectTypeOf(Asked.toLayer({ count: () => Effect.fail("empty") })).toEqualTypeOf<
  Layer.Layer<Event.Handler<"asked/count">>
>()
void Asked.toLayer({ count: (_data, { isRequest }) => Effect.succeed(isRequest ? 1 : 2) })

// @ts-expect-error the response is another
Asked.toLayer({ count: () => Effect.succeed("one") })
// @ts-expect-error the response is missing
Asked.toLayer({ count: () => Effect.void })
// @ts-expect-error the error is not declared
Asked.toLayer({ count: () => Effect.fail("full") })
