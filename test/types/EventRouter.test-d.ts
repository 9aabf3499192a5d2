/**
 * What the compiler promises about routers. `tsc` checks this file; nothing runs it. What it refuses, Effect's diagnostics
 * would refuse once more.
 */
// @effect-diagnostics missingLayerContext:off missingEffectError:off missingEffectContext:off
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { expectTypeOf } from "vitest"
import { EventGroup, EventRouter, type KosmonautError, type Message, type Worker } from "../../src/index.ts"

class Chat extends EventGroup.make("chat", { say: { room: Schema.String, at: Schema.Date }, left: {} }) {}
class Game extends EventGroup.make("game", { move: { x: Schema.Number } }) {}

class Store extends Context.Service<Store, {
  readonly keep: (text: string) => Effect.Effect<void, "full">
}>()("test/Store") {}
class Log extends Context.Service<Log, { readonly say: Effect.Effect<void> }>()("test/Log") {}

const left = () => Effect.void

// --- What is inferred ------------------------------------------------------------------------------------------------

const chat = EventRouter.group(Chat, {
  say: (message) => {
    expectTypeOf(message).toEqualTypeOf<Message.Message<{ readonly room: string; readonly at: Date }>>()
    return Store.use((store) => store.keep(message.data.room))
  },
  left: () => Log.use((log) => log.say)
})
expectTypeOf(chat).toEqualTypeOf<Layer.Layer<never, never, EventRouter.EventRouter | Store | Log>>()

// Handlers that an effect makes: what it fails with and needs is the layer's, what it acquires lives as long.
const made = EventRouter.group(
  Chat,
  Effect.gen(function*() {
    const store = yield* Store
    yield* Effect.addFinalizer(() => Effect.void)
    if (store === undefined) return yield* Effect.fail("no store" as const)
    return {
      say: ({ data }) => {
        expectTypeOf(data.at).toEqualTypeOf<Date>()
        return store.keep(data.room)
      },
      left: () => Effect.andThen(Log, (log) => log.say)
    }
  })
)
expectTypeOf(made).toEqualTypeOf<Layer.Layer<never, "no store", EventRouter.EventRouter | Store | Log>>()

const game = EventRouter.group(Game, { move: () => Effect.void })
expectTypeOf(game).toEqualTypeOf<Layer.Layer<never, never, EventRouter.EventRouter>>()

expectTypeOf(EventRouter.serve(Layer.mergeAll(made, game))).toEqualTypeOf<
  Layer.Layer<never, "no store" | KosmonautError.UnauthorizedError, Worker.Worker | Store | Log>
>()

// Each event has a scope of its own, so no handler asks the layer for one.
const scoped = (_: unknown): Effect.Effect<void, never, Scope.Scope | Store> => Effect.void
expectTypeOf(EventRouter.layer(Game, { move: scoped })).toEqualTypeOf<
  Layer.Layer<never, KosmonautError.UnauthorizedError, Worker.Worker | Store>
>()

expectTypeOf(EventRouter.serve(game, {
  fallback: (message) => {
    expectTypeOf(message).toEqualTypeOf<Message.Message>()
    return Effect.andThen(Store, (store) => store.keep(message.event))
  },
  onError: (error) => {
    expectTypeOf(error).toEqualTypeOf<EventRouter.RouterError>()
    return Log.use((log) => log.say)
  },
  onException: (_, { event }) => Effect.logError(event)
})).toEqualTypeOf<Layer.Layer<never, KosmonautError.UnauthorizedError, Worker.Worker | Store | Log>>()

// --- What is refused -------------------------------------------------------------------------------------------------

// @ts-expect-error a handler is missing
EventRouter.group(Chat, { say: () => Effect.void })
// @ts-expect-error a handler is misspelt
EventRouter.group(Chat, { sey: () => Effect.void, left })
// @ts-expect-error a handler is of no event
EventRouter.group(Chat, { say: () => Effect.void, left, gone: () => Effect.void })
// @ts-expect-error nor may an effect make one
EventRouter.group(Chat, Effect.succeed({ say: () => Effect.void, left, gone: () => Effect.void }))
// @ts-expect-error nor forget one
EventRouter.group(Chat, Effect.succeed({ say: () => Effect.void }))

// @ts-expect-error the data have no such field
EventRouter.group(Chat, { say: ({ data }) => Effect.log(data.rom), left })
// @ts-expect-error a field is used as what it is not
EventRouter.group(Chat, { say: ({ data }) => Effect.log(data.at.toUpperCase()), left })
// @ts-expect-error a handler wants other data
EventRouter.group(Chat, { say: (_: Message.Message<{ readonly room: number }>) => Effect.void, left })

// @ts-expect-error a handler gives a Promise
EventRouter.group(Chat, { say: () => Promise.resolve(), left })
// @ts-expect-error a handler gives a plain value
EventRouter.group(Chat, { say: () => "said", left })
// @ts-expect-error a handler gives nothing at all
EventRouter.group(Chat, { say: () => {}, left })
// @ts-expect-error a handler's effect gives something
EventRouter.group(Chat, { say: () => Effect.succeed(1), left })
// @ts-expect-error a handler's effect is one that is never run
EventRouter.layer(Chat, { say: () => Effect.succeed(Effect.void), left })

// @ts-expect-error what the handlers of a group need is not provided
EventRouter.serve(chat) satisfies Layer.Layer<never, KosmonautError.UnauthorizedError, Worker.Worker>
// @ts-expect-error who hears of errors does not fail
EventRouter.serve(game, { onError: (error) => Effect.fail(error) })
// @ts-expect-error who hears of exceptions does not fail
EventRouter.serve(game, { onException: (cause) => Effect.failCause(cause) })
// @ts-expect-error a group that nobody serves is no program
void (Layer.launch(game) satisfies Effect.Effect<never>)
