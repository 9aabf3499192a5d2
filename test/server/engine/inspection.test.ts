/**
 * What administrators see of a vhost: its browsers, its workers, what is queued, and the broadcasts on a channel.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { enqueue, make, nack, tickAfter, worker } from "../../harness/lobby.ts"
import * as Vhost from "../../harness/vhost.ts"

describe("what an administrator sees", () => {
  it.effect("is for how long the next event has been queued, also after a failure", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const events = Effect.map(lobby.lanes, ({ events }) => events)
      yield* TestClock.adjust("1 minute")
      yield* enqueue(lobby, "e0")
      yield* TestClock.adjust("2 seconds")
      yield* enqueue(lobby, "e1")
      yield* TestClock.adjust("1 second")
      assert.deepEqual(yield* events, { queued: 2, unacked: 0, oldestAge: 3000 })
      const a = worker("a", { prefetch: 1, isSent: true, maxAttempts: 2 })
      yield* lobby.register(a)
      assert.deepEqual(yield* events, { queued: 1, unacked: 1, oldestAge: 1000 })
      yield* lobby.leave("a")
      assert.deepEqual(yield* events, { queued: 2, unacked: 0, oldestAge: 3000 })
    }))

  it.effect("counts from its failure for an event that a worker had at once", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const a = worker("a", { prefetch: 1, isSent: true, maxAttempts: 2 })
      yield* lobby.register(a)
      yield* enqueue(lobby, "e0")
      yield* TestClock.adjust("5 seconds")
      assert.deepEqual((yield* lobby.lanes).events, { queued: 0, unacked: 1, oldestAge: undefined })
      yield* enqueue(lobby, "e1")
      yield* nack(lobby, a, "e0", "no luck")
      yield* lobby.leave("a")
      yield* TestClock.adjust("1 second")
      assert.deepEqual((yield* lobby.lanes).events, { queued: 2, unacked: 0, oldestAge: 1000 })
    }))

  it.effect("is each worker, for how long it is there, and what it takes", () =>
    Effect.gen(function*() {
      const lobby = yield* make()
      const [a, b] = [worker("a", { prefetch: 2, isSent: true }), worker("b", { lifecycle: true })]
      yield* lobby.register(a)
      yield* tickAfter(lobby, 1000)
      yield* lobby.register(b)
      yield* enqueue(lobby, "e0")
      const [one, other] = yield* lobby.workers
      const { registration, ...info } = one!
      assert.deepEqual(info, { id: "a", age: 1000, unacked: 1, prefetch: 2, responses: false, lifecycle: false })
      assert.deepInclude(other, { age: 0, prefetch: undefined, lifecycle: true })
      // The same, though it has registered again.
      yield* lobby.register({ ...a, prefetch: 3 })
      const [again] = yield* lobby.workers
      assert.strictEqual(again!.registration, registration)
      assert.strictEqual(again!.prefetch, 3)
    }))

  it.effect("is each browser, in the order in which they have connected", () =>
    Effect.gen(function*() {
      const { browsers, channels } = Vhost.make()
      const [ann, joe] = [FakeBrowser.make("1"), FakeBrowser.make("2", undefined, 1)]
      for (const browser of [ann!, joe!]) browsers.enterUnsafe(browser)
      Effect.runSync(browsers.identify(joe!, "joe"))
      yield* channels.open("room")
      yield* channels.subscribe("room", joe!, { permission: undefined, hidden: false, data: {} })
      assert.deepEqual(Array.from(browsers.list(), ({ browser: { sid }, ...info }) => ({ sid, ...info })), [
        { sid: "1", uid: undefined, subscriptions: 0 },
        { sid: "2", uid: "joe", subscriptions: 1 }
      ])
    }))

  it.effect("is each broadcast on a channel, which has no subscriber for that", () =>
    Effect.gen(function*() {
      const { channels, state } = Vhost.make()
      yield* channels.open("room")
      const seen: Array<string> = []
      const tap = { onMessage: (message: string) => void seen.push(message), onClose: () => void seen.push("closed") }
      yield* Effect.scoped(Effect.gen(function*() {
        yield* channels.tap("room", tap)
        yield* channels.broadcast("room", "a", { n: 1 })
        assert.strictEqual((yield* channels.describe("room")).subscribers, 0)
      }))
      yield* channels.broadcast("room", "a", { n: 2 })
      assert.deepEqual(seen.splice(0), [`{"a":{"n":1,"channel":"room"}}`])
      // Nothing is left of it.
      assert.strictEqual(state.channels.get("room")?.value?.taps, undefined)
      yield* Effect.scoped(Effect.andThen(channels.tap("room", tap), channels.close("room")))
      assert.deepEqual(seen, ["closed"])
      assert.strictEqual((yield* Effect.flip(Effect.scoped(channels.tap("room", tap))))._tag, "ChannelNotFoundError")
    }))
})
