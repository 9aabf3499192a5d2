/**
 * The chat of `chat.ts` is tested without a socket and without waiting.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { TestBroker } from "kosmonaut/testing"
import * as Chat from "./chat.ts"
import * as Retries from "./retries.ts"

const Test = Layer.provideMerge(Chat.Router, TestBroker.layerBackend({ channels: ["room"] }))

it.effect("the room receives what a browser says", () =>
  Effect.gen(function*() {
    const { browser } = yield* TestBroker.TestBroker
    const ann = yield* browser()
    yield* ann.subscribe("room")
    const joe = yield* browser({ uid: "joe" })
    yield* joe.trigger("chat/say", { text: "hello" })
    const received = yield* ann.received("talk/said")
    assert.deepInclude(received, { by: "joe", text: "hello", at: "1970-01-01T00:00:00.000Z" })
  }).pipe(Effect.provide(Test)))

it.effect("a browser that joins later receives what was said, and no other does", () =>
  Effect.gen(function*() {
    const { browser } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    yield* ann.subscribe("room")
    yield* ann.trigger("chat/say", { text: "hello" })
    yield* ann.received("talk/said")
    const joe = yield* browser({ uid: "joe" })
    yield* joe.trigger("chat/join")
    const { lines } = yield* joe.received("talk/history")
    assert.deepStrictEqual(lines, [{ by: "ann", text: "hello", at: "1970-01-01T00:00:00.000Z" }])
    const received = yield* ann.allReceived
    assert.isFalse(received.some(({ event }) => event === "talk/history"))
  }).pipe(Effect.provide(Test)))

it.effect("what is said while the network is cut is handled when the worker is back", () =>
  Effect.gen(function*() {
    const { browser, cut, restore } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    yield* ann.subscribe("room")
    yield* cut
    yield* ann.trigger("chat/say", { text: "hello" })
    yield* TestClock.adjust("1 minute")
    const before = yield* ann.allReceived
    assert.isFalse(before.some(({ event }) => event === "talk/said"))
    yield* restore
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual((yield* ann.received("talk/said"))["text"], "hello")
  }).pipe(Effect.provide(Test)))

it.effect("a broadcast that was not sent is retried until the broker is back", () =>
  Effect.gen(function*() {
    const { browser, cut, restore } = yield* TestBroker.TestBroker
    const ann = yield* browser()
    yield* ann.subscribe("room")
    yield* cut
    const saying = yield* Effect.forkChild(Retries.atMostOnce("hello"))
    yield* TestClock.adjust("1 second")
    yield* restore
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(saying)
    assert.strictEqual((yield* ann.received("said"))["text"], "hello")
  }).pipe(Effect.provide(Test)))
