/**
 * Wherever a worker is on its way to typed events, the browsers receive the same.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestBroker } from "kosmonaut/testing"
import * as Migrating from "./migrating.ts"

it.effect.each([
  { name: "before", worker: Layer.effectDiscard(Effect.forkScoped(Migrating.before)) },
  { name: "on the way", worker: Migrating.onTheWay },
  { name: "after", worker: Migrating.after }
])("$name", ({ worker }) =>
  Effect.gen(function*() {
    const { rawBrowser } = yield* TestBroker.TestBroker
    const joe = yield* rawBrowser({ uid: "joe" })
    yield* joe.subscribe("room")
    yield* joe.subscribe("board")
    yield* joe.trigger("chat/say", { text: "hello" })
    yield* joe.trigger("game/move", { to: "e4" })
    assert.deepInclude(yield* joe.received("said"), { text: "hello" })
    assert.deepInclude(yield* joe.received("moved"), { to: "e4" })
  }).pipe(
    Effect.provide(Layer.provideMerge(worker, TestBroker.layerBackend({ channels: ["room", "board"] })))
  ))
