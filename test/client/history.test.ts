/**
 * The history of channels, as Clients read it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Client } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(TestBroker.layerBackend({
    channels: ["room", "other"],
    channelRules: [{ pattern: "room", history: true }],
    ...options
  }))

const broadcasts = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => ({ n: from + index }))

describe("Client.history", () => {
  it.effect("gives what a channel retains, the oldest first, after a position and up to a limit", () =>
    Effect.gen(function*() {
      const { rawBrowser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const browser = yield* rawBrowser()
      yield* browser.subscribe("room")
      yield* Effect.forEach(broadcasts(1, 3), (data) => client.broadcast("room", "said", data))
      yield* browser.broadcast("room", "shouted", { n: 4 })
      yield* browser.received("shouted")
      const all = yield* Stream.runCollect(client.history("room"))
      assert.deepStrictEqual(
        all.map(({ data, event, sid }) => ({ data, event, sid })),
        [
          ...broadcasts(1, 3).map(({ n }) => ({ event: "said", data: { n, channel: "room" }, sid: undefined })),
          { event: "shouted", data: { n: 4, channel: "room", sid: browser.sid }, sid: browser.sid }
        ]
      )
      const [first] = all
      const rest = yield* Stream.runCollect(client.history("room", { after: first!.position, limit: 2 }))
      assert.deepStrictEqual(rest, all.slice(1, 3))
      assert.deepStrictEqual(yield* Stream.runCollect(client.history("room", { after: all.at(-1)!.position })), [])
    }).pipe(within({ browsers: { broadcast: true } })))

  it.effect("requests it in parts that fit into a message", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const text = "x".repeat(300)
      yield* Effect.forEach(broadcasts(1, 20), (data) => client.broadcast("room", "said", { ...data, text }))
      const all = yield* Stream.runCollect(client.history("room"))
      assert.deepStrictEqual(all.map(({ data }) => data["n"]), broadcasts(1, 20).map(({ n }) => n))
      const some = yield* Stream.runCollect(client.history("room", { limit: 7 }))
      assert.deepStrictEqual(some, all.slice(0, 7))
    }).pipe(within({ maxMessageSize: 2000 })))

  it.effect("is empty without history, and fails for a channel that is not open", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* client.broadcast("other", "said", {})
      assert.deepStrictEqual(yield* Stream.runCollect(client.history("other")), [])
      const error = yield* Effect.flip(Stream.runCollect(client.history("nowhere")))
      assert.strictEqual(error._tag, "ChannelNotFoundError")
    }).pipe(within()))
})
