/**
 * A browser of a test triggers and receives events that are declared.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Client, Event, EventGroup, EventRouter, Message } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"

const payload = { text: Schema.String, at: Schema.Date }
class Chat extends EventGroup.make("chat", Event.make("say", { payload })) {}
class Talk extends EventGroup.make("talk", Event.make("said", { payload })) {}

const ChatLive = Chat.toLayer({
  say: (data, message) => Message.directReply(message, Talk.events.said, data)
})

const backend = TestBroker.layerBackend({ channels: ["room"] })

it.effect("a browser triggers and receives typed events", () =>
  Effect.gen(function*() {
    const { rawBrowser: browser } = yield* TestBroker.TestBroker
    const joe = yield* browser({ uid: "joe" })
    const at = new Date("2026-11-22T12:00:00Z")
    yield* joe.trigger(Chat.events.say, { text: "hello", at })
    assert.deepStrictEqual(yield* joe.received(Talk.events.said), { text: "hello", at })
  }).pipe(Effect.provide(
    EventRouter.layer(Chat).pipe(Layer.provide(ChatLive), Layer.provideMerge(backend))
  )))

it.effect("data that do not match the Schema fail, sent and received", () =>
  Effect.gen(function*() {
    const { rawBrowser: browser } = yield* TestBroker.TestBroker
    const client = yield* Client.Client
    const joe = yield* browser({ uid: "joe" })
    const wrong = { text: 7 } as unknown as { readonly text: string; readonly at: Date }
    assert.strictEqual((yield* Effect.flip(joe.trigger(Chat.events.say, wrong)))._tag, "MessageEncodeError")
    yield* client.sendTo(joe.sid, "talk/said", { text: 7 })
    assert.strictEqual((yield* Effect.flip(joe.received(Talk.events.said)))._tag, "MessageDecodeError")
  }).pipe(Effect.provide(backend)))
