/**
 * The chat of `chat.ts` is tested without a socket and without waiting.
 */
import { assert, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { TestBroker } from "kosmonaut/testing"
import { Chat, Line, Room } from "./chat-events.ts"
import { Router } from "./chat.ts"
import * as Retries from "./retries.ts"

const Test = Layer.provideMerge(Router, TestBroker.layerBackend({ channels: [Room.name, "room"] }))

it.effect("the room receives what a browser says", () =>
  Effect.gen(function*() {
    const { browser } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    const room = yield* ann.subscribe(Room)
    const joe = yield* browser({ uid: "joe" })
    yield* joe.trigger(Chat.events.say, { text: "hello" })
    const received = yield* Stream.runHead(room.events)
    const line = new Line({ by: "joe", text: "hello", at: DateTime.makeUnsafe(0) })
    assert.deepInclude(Option.getOrThrow(received), { event: "said", data: line })
  }).pipe(Effect.provide(Test)))

it.effect("a browser that joins later gets what was said", () =>
  Effect.gen(function*() {
    const { browser } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    yield* ann.trigger(Chat.events.say, { text: "hello" })
    const joe = yield* browser({ uid: "joe" })
    const lines = yield* joe.request(Chat.events.history)
    assert.deepStrictEqual(lines.map(({ by, text }) => `${by}: ${text}`), ["ann: hello"])
  }).pipe(Effect.provide(Test)))

it.effect("what is said while the network is cut is handled when the worker is back", () =>
  Effect.gen(function*() {
    const { browser, cut, restore } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    const room = yield* ann.subscribe(Room)
    const received = yield* Effect.forkChild(Stream.runHead(room.events))
    yield* cut
    yield* ann.trigger(Chat.events.say, { text: "hello" })
    yield* TestClock.adjust("1 minute")
    assert.isUndefined(received.pollUnsafe())
    yield* restore
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(Option.getOrThrow(yield* Fiber.join(received)).event, "said")
  }).pipe(Effect.provide(Test)))

it.effect("what a browser says while it is not connected is said when it is back", () =>
  Effect.gen(function*() {
    const { browser, browserNetwork } = yield* TestBroker.TestBroker
    const ann = yield* browser({ uid: "ann" })
    const room = yield* ann.subscribe(Room)
    yield* browserNetwork.cut
    const saying = yield* Effect.forkChild(ann.trigger(Chat.events.say, { text: "hello" }))
    yield* TestClock.adjust("100 millis")
    yield* browserNetwork.restore
    // Its backoff is random.
    yield* Effect.repeat(TestClock.adjust("1 second"), { until: () => saying.pollUnsafe() !== undefined })
    yield* Fiber.join(saying)
    assert.strictEqual(Option.getOrThrow(yield* Stream.runHead(room.events)).event, "said")
  }).pipe(Effect.provide(Test)))

it.effect("a broadcast that was not sent is retried until the broker is back", () =>
  Effect.gen(function*() {
    const { cut, rawBrowser, restore } = yield* TestBroker.TestBroker
    const ann = yield* rawBrowser()
    yield* ann.subscribe("room")
    yield* cut
    const saying = yield* Effect.forkChild(Retries.atMostOnce("hello"))
    yield* TestClock.adjust("1 second")
    yield* restore
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(saying)
    assert.strictEqual((yield* ann.received("said"))["text"], "hello")
  }).pipe(Effect.provide(Test)))
