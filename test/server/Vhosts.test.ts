/** What an application sees of a running broker's vhosts. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, Redacted } from "effect"
import * as Engine from "../../src/server/engine/Vhosts.ts"
import * as VhostViews from "../../src/server/engine/VhostViews.ts"
import { BrokerConfig, Store, Vhosts } from "../../src/server/index.ts"

const live = (store: Layer.Layer<Store.Store> = Store.layerNoop) =>
  VhostViews.layer.pipe(
    Layer.provide(Engine.layer),
    Layer.provide(BrokerConfig.layer({ vhosts: [{ path: "/a", channels: ["room"] }], deadLetters: { capacity: 2 } })),
    Layer.provide(store),
    Layer.merge(Logger.layer([]))
  )

const letter = (id: string) => ({ id, json: `{"say":{"n":"${id}"}}`, origin: undefined, attempts: 1, reason: "failed" })

describe("Vhosts", () => {
  it.effect("shows the state of a vhost, and nothing of the engine", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      const vhost = yield* vhosts.get("/a")
      assert.deepStrictEqual(Object.keys(vhost).sort(), [
        "channelRules",
        "channels",
        "counts",
        "deadLetters",
        "issueToken",
        "path",
        "revokeTokens",
        "setChannelRules",
        "token",
        "tokens"
      ])
      assert.strictEqual(vhost, (yield* vhosts.list)[0])
      yield* vhost.channels.open("private-room")
      yield* VhostViews.ofView(vhost).lobby.enqueue(`{"say":{}}`)
      yield* VhostViews.ofView(vhost).deadLetters.add(letter("1"))
      assert.deepStrictEqual(yield* vhost.counts, {
        browsers: 0,
        workers: 0,
        channels: 2,
        subscriptions: 0,
        queued: 1,
        unacked: 0,
        deadLetters: 1
      })
      yield* vhost.channels.close("room")
      assert.deepStrictEqual(yield* vhost.channels.list, [{ name: "private-room", kind: "private", subscribers: 0 }])
      const token = yield* vhost.issueToken("joe", ".*")
      assert.strictEqual((yield* VhostViews.ofView(vhost).accessTokens.redeem(Redacted.value(token))).uid, "joe")
    }).pipe(Effect.provide(live())))

  it.effect("sets the rules of channels, or none of them", () =>
    Effect.gen(function*() {
      const vhost = yield* (yield* Vhosts.Vhosts).get("/a")
      assert.deepStrictEqual(yield* vhost.channelRules, [])
      yield* vhost.setChannelRules([{ pattern: "room", history: { age: "1 hour" }, grace: "1 minute" }])
      const rules = yield* vhost.channelRules
      assert.deepStrictEqual(rules.map(({ pattern }) => pattern), ["room"])
      for (const wrong of [{ pattern: "a(" }, { pattern: "a", maxSubscribers: -1 }]) {
        const error = yield* Effect.flip(vhost.setChannelRules([{ pattern: "b" }, wrong]))
        assert.strictEqual(error._tag, "InvalidOptionError")
        assert.include(error.message, "channelRules.1.")
      }
      assert.deepStrictEqual(yield* vhost.channelRules, rules)
      // What was read can be set again.
      yield* vhost.setChannelRules(rules)
      assert.deepStrictEqual(yield* vhost.channelRules, rules)
      const { channels } = VhostViews.ofView(vhost)
      assert.deepInclude(channels.ruleOf("room"), { grace: 60_000, openOnDemand: false })
      assert.strictEqual(channels.ruleOf("other").history, undefined)
    }).pipe(Effect.provide(live())))

  it.effect("discards and replays dead letters", () =>
    Effect.gen(function*() {
      const vhost = yield* (yield* Vhosts.Vhosts).get("/a")
      const { deadLetters } = vhost
      const add = (id: string) => VhostViews.ofView(vhost).deadLetters.add(letter(id))
      yield* Effect.forEach(["1", "2"], add)
      assert.deepStrictEqual((yield* deadLetters.list).map(({ id }) => id), ["1", "2"])
      assert.isTrue(yield* deadLetters.discard("1"))
      assert.isFalse(yield* deadLetters.discard("1"))
      assert.isTrue(yield* deadLetters.replay("2"))
      yield* Effect.forEach(["3", "4"], add)
      assert.strictEqual(yield* deadLetters.discardAll, 2)
      yield* add("5")
      assert.deepStrictEqual(yield* deadLetters.replayAll, { replayed: 1, left: 0 })
      assert.strictEqual((yield* vhost.counts).queued, 2)
    }).pipe(Effect.provide(live())))

  it.effect("changes what is persisted before it says so", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      let isSlow = false
      const store = Store.Store.of({
        isComplete: true,
        load: Effect.succeed([]),
        write: () => Effect.suspend(() => isSlow ? Deferred.await(gate) : Effect.void)
      })
      yield* Effect.gen(function*() {
        const vhost = yield* (yield* Vhosts.Vhosts).get("/a")
        yield* VhostViews.ofView(vhost).deadLetters.add(letter("1"))
        yield* VhostViews.ofView(vhost).journal.persisted
        isSlow = true
        const changes = [
          vhost.channels.open("other"),
          vhost.channels.close("room"),
          vhost.issueToken("joe", ".*"),
          vhost.deadLetters.discardAll
        ]
        const fibers = yield* Effect.forEach(changes, (change) => Effect.forkChild(change, { startImmediately: true }))
        yield* Effect.yieldNow
        assert.deepStrictEqual(fibers.map((fiber) => fiber.pollUnsafe()), changes.map(() => undefined))
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.joinAll(fibers)
      }).pipe(Effect.provide(live(Layer.succeed(Store.Store, store))))
    }))
})
