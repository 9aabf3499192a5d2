import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { expectTypeOf } from "vitest"
import { EventGroup, EventRouter, type KosmonautError, type Message, type Worker } from "../../src/index.ts"

class Chat extends EventGroup.make("chat", {
  say: { room: Schema.String, at: Schema.Date },
  left: {}
}) {}
class Store
  extends Context.Service<Store, { readonly keep: (text: string) => Effect.Effect<void, "full"> }>()("test/Store")
{}
class Log extends Context.Service<Log, { readonly say: Effect.Effect<void> }>()("test/Log") {}

const direct = EventRouter.group(Chat, {
  say: (message) => {
    expectTypeOf(message).toEqualTypeOf<Message.Message<{ readonly room: string; readonly at: Date }>>()
    return Store.use((store) => store.keep(message.data.room))
  },
  left: () => Log.use((log) => log.say)
})
expectTypeOf(direct).toEqualTypeOf<Layer.Layer<never, never, EventRouter.EventRouter | Store | Log>>()

const made = EventRouter.group(
  Chat,
  Effect.gen(function*() {
    const store = yield* Store
    yield* Effect.addFinalizer(() => Effect.void)
    if (store === undefined) return yield* Effect.fail("no" as const)
    return {
      say: (message) => {
        expectTypeOf(message.data.at).toEqualTypeOf<Date>()
        return store.keep(message.data.room)
      },
      left: () => Effect.andThen(Log, (log) => log.say)
    }
  })
)
expectTypeOf(made).toEqualTypeOf<Layer.Layer<never, "no", EventRouter.EventRouter | Store | Log>>()

EventRouter.group(Chat, {
  say: () => Effect.void,
  left: () => Effect.void,
  // extra
  gone: () => Effect.void
})
EventRouter.group(
  Chat,
  Effect.succeed({
    say: () => Effect.void,
    left: () => Effect.void,
    // extra
    gone: () => Effect.void
  })
)
// missing
EventRouter.group(Chat, { say: () => Effect.void })
// promise
EventRouter.group(Chat, { say: () => Promise.resolve(), left: () => Effect.void })
// number
EventRouter.group(Chat, { say: () => Effect.succeed(1), left: () => Effect.void })
// wrong payload
EventRouter.group(Chat, { say: ({ data }) => Effect.log(data.rom), left: () => Effect.void })
