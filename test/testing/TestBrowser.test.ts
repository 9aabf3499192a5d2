import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Redacted, Scheduler, Scope } from "effect"
import { Client, Message, Worker } from "../../src/index.ts"
import { Vhosts } from "../../src/server/index.ts"
import { TestBroker, type TestBrowser } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"

const channels = ["room", "presence-room", "private-room"]
const within = Effect.provide(
  TestBroker.layerBackend({ channels, maxMessageSize: 5000, browsers: { broadcast: true } })
)

describe("TestBrowser", () => {
  it.effect("connects, subscribes and receives broadcasts, in order", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const ann = yield* browser()
      assert.deepStrictEqual(yield* ann.subscribe("room"), { channel: "room" })
      const client = yield* Client.Client
      yield* client.broadcast("room", "hello", { n: 1 })
      yield* vhost.channels.broadcast("room", "other", {})
      yield* client.broadcast("room", "hello", { n: 2 })
      assert.deepStrictEqual(yield* ann.received("hello"), { n: 1, channel: "room" })
      assert.deepStrictEqual(yield* ann.received("hello"), { n: 2, channel: "room" })
      assert.deepStrictEqual(yield* ann.received("other"), { channel: "room" }, "what came between is still there")
      assert.deepStrictEqual(yield* ann.allReceived, [
        { event: ":connected", data: { sid: ann.sid } },
        { event: ":subscribed", data: { channel: "room" } },
        { event: "hello", data: { n: 1, channel: "room" } },
        { event: "other", data: { channel: "room" } },
        { event: "hello", data: { n: 2, channel: "room" } }
      ])
    }).pipe(within))

  it.effect("waits for events that have not arrived yet, each waiter for one", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const ann = yield* browser()
      yield* ann.subscribe("room")
      const interrupted = yield* Effect.forkChild(ann.received("hello"), { startImmediately: true })
      const first = yield* Effect.forkChild(ann.received("hello"), { startImmediately: true })
      const second = yield* Effect.forkChild(ann.received("hello"), { startImmediately: true })
      yield* Fiber.interrupt(interrupted)
      yield* vhost.channels.broadcast("room", "hello", { n: 1 })
      assert.isUndefined(first.pollUnsafe(), "nobody is run by what another does")
      yield* vhost.channels.broadcast("room", "hello", { n: 2 })
      assert.deepStrictEqual(yield* Fiber.join(first), { n: 1, channel: "room" })
      assert.deepStrictEqual(yield* Fiber.join(second), { n: 2, channel: "room" })
    }).pipe(within))

  it.effect("fails with what it has received instead, after a while of real time", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const ann = yield* browser()
      yield* ann.subscribe("room")
      yield* ann.send({ subscribe: { channel: "nowhere" } })
      const error = yield* Effect.flip(ann.received("said"))
      assert.strictEqual(error._tag, "NotReceivedError")
      assert.strictEqual(
        error.message,
        `The browser ${ann.sid} has not received "said" within 20ms. ` +
          `It has received :connected, :subscribed, :error {"code":454,"status":"Channel not found"}`
      )
      // What comes later is still there.
      yield* ann.send({ ping: {} })
      assert.deepStrictEqual(yield* ann.received(":pong"), {})
    }).pipe(Effect.provide(TestBroker.layer({ channels: ["room"], receiveTimeout: "20 millis" }))))

  it.effect("is a user, within a pattern, if that is asked for", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const ann = yield* browser({ uid: "ann", pattern: "presence-.*" })
      assert.deepStrictEqual(yield* joe.subscribe("presence-room", { data: { age: 7 } }), {
        channel: "presence-room",
        uid: "joe",
        subscribers: []
      })
      assert.deepStrictEqual(yield* ann.subscribe("presence-room", { hidden: true }), {
        channel: "presence-room",
        uid: "ann",
        subscribers: [{ channel: "presence-room", uid: "joe", age: 7 }]
      })
      assert.strictEqual((yield* joe.subscribe("private-room"))["uid"], "joe")
      assert.strictEqual((yield* Effect.flip(ann.subscribe("private-room")))._tag, "ForbiddenError")
      yield* joe.unsubscribe("presence-room", { bye: true })
      assert.deepStrictEqual(yield* ann.received(":memberLeft"), {
        channel: "presence-room",
        uid: "joe",
        age: 7,
        bye: true
      })
      const error = yield* Effect.flip(browser({ uid: "joe", pattern: "(" }))
      assert.strictEqual(error._tag, "InternalError")
    }).pipe(within))

  it.effect("authenticates once with a token that a Client requested", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const issued = yield* client.requestSingleAccessToken("joe", ".*")
      const joe = yield* browser()
      assert.strictEqual((yield* Effect.flip(joe.trigger("say")))._tag, "ForbiddenError")
      yield* joe.authenticate(issued)
      yield* joe.trigger("say")
      const again = yield* Effect.flip(joe.authenticate(Redacted.value(issued)))
      assert.strictEqual(again._tag, "UnauthorizedError")
      assert.notInclude(again.message, Redacted.value(issued))
    }).pipe(within))

  it.effect("fails with the error of the protocol, which `received` does not return", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const failures = {
        "a channel that does not exist": [joe.subscribe("nowhere"), "ChannelNotFoundError"],
        "unsubscribing without a subscription": [joe.unsubscribe("room"), "NotSubscribedError"],
        "broadcasting without a subscription": [joe.broadcast("room", "hello"), "NotSubscribedError"],
        "a reserved name": [joe.trigger(":connected"), "BadRequestError"],
        "too much data": [joe.subscribe("presence-room", { data: { x: "x".repeat(4100) } }), "BadRequestError"],
        "a cycle": [joe.trigger("say", cycle), "MessageEncodeError"],
        "a big integer": [joe.send({ n: 1n }), "MessageEncodeError"]
      } as const
      for (const [what, [said, tag]] of Object.entries(failures)) {
        assert.strictEqual(
          (yield* Effect.flip(said as Effect.Effect<unknown, { readonly _tag: string }>))._tag,
          tag,
          what
        )
      }
      const error = yield* Effect.flip(joe.subscribe("nowhere"))
      assert.include(error.message, "nowhere")
      yield* joe.send("{")
      yield* joe.send({ subscribe: { channel: "room" } })
      assert.deepStrictEqual(yield* joe.received(":error"), { code: 400, status: "Bad request" })
      assert.deepStrictEqual(yield* joe.received(":subscribed"), { channel: "room" })
      yield* joe.close
      assert.strictEqual((yield* Effect.flip(joe.received(":error")))._tag, "BrowserClosedError")
    }).pipe(within))

  it.effect("assigns each response to its own message", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      yield* joe.send("{")
      yield* joe.send({ subscribe: { channel: "room" } })
      assert.strictEqual((yield* joe.subscribe("private-room"))["channel"], "private-room")
      assert.strictEqual((yield* joe.received(":subscribed"))["channel"], "room")
      assert.strictEqual((yield* joe.received(":error"))["code"], 400)
    }).pipe(within))

  it.effect("sends one message after the other, however many fibers send", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      const tag = Effect.match({ onFailure: ({ _tag }: TestBrowser.SendError) => _tag, onSuccess: () => "said" })
      const said = Effect.all([
        tag(joe.subscribe("nowhere")),
        tag(joe.subscribe("room")),
        ...Array.from({ length: 10 }, () => tag(joe.send("{"))),
        tag(joe.unsubscribe("room"))
      ], { concurrency: "unbounded" })
      // However often fibers let each other go on.
      for (const budget of [3, 5, 8, 13, 21]) {
        assert.deepStrictEqual(yield* Effect.provideService(said, Scheduler.MaxOpsBeforeYield, budget), [
          "ChannelNotFoundError",
          ...Array.from({ length: 12 }, () => "said")
        ])
      }
    }).pipe(within))

  it.effect("returns the channel if it is subscribed already", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      yield* joe.subscribe("room")
      assert.deepStrictEqual(yield* joe.subscribe("room"), { channel: "room" })
    }).pipe(within))

  it.effect("broadcasts, with an event for a worker", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const joe = yield* browser({ uid: "joe" })
      yield* joe.subscribe("room")
      yield* joe.broadcast("room", "hello", { n: 1 })
      assert.deepStrictEqual(yield* joe.received("hello"), { n: 1, channel: "room", sid: joe.sid })
      assert.strictEqual((yield* vhost.lobby.info).queued, 0)
      yield* joe.broadcast("room", "hello", { n: 2 }, "log")
      assert.strictEqual((yield* vhost.lobby.info).queued, 1)
    }).pipe(within))

  it.effect("closes, and is disconnected then", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const ann = yield* browser({ uid: "ann" })
      const joe = yield* browser({ uid: "joe" })
      yield* ann.subscribe("presence-room")
      yield* joe.subscribe("presence-room")
      const waiting = yield* Effect.forkChild(Effect.flip(joe.received("hello")), { startImmediately: true })
      yield* joe.close
      assert.strictEqual(yield* joe.closed, 1000)
      yield* joe.close
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "BrowserClosedError")
      assert.strictEqual((yield* Effect.flip(joe.subscribe("room")))._tag, "BrowserClosedError")
      assert.deepStrictEqual(yield* joe.received(":closed"), { sid: joe.sid }, "what came before can be received")
      assert.strictEqual((yield* ann.received(":memberLeft"))["uid"], "joe")
      yield* vhost.channels.broadcast("presence-room", "late", {})
      assert.notInclude((yield* joe.allReceived).map(({ event }) => event), "late")
    }).pipe(within))

  it.effect("receives a handler's direct reply, and is disconnected by a backend", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(
        worker.listen({
          onMessage: (message) => Message.directReply(message, "echo", { data: message.data, uid: message.uid })
        })
      )
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("say", { text: "hello" })
      assert.deepStrictEqual(yield* joe.received("echo"), { data: { text: "hello", sid: joe.sid }, uid: "joe" })
      yield* joe.subscribe("room")
      assert.strictEqual(yield* client.disconnect({ uid: "joe" }), 1)
      assert.deepStrictEqual(yield* joe.received(":closed"), { sid: joe.sid })
      assert.strictEqual((yield* Effect.flip(joe.trigger("say")))._tag, "BrowserClosedError")
      assert.strictEqual(yield* joe.closed, 4403)
      assert.strictEqual((yield* Effect.flip(client.sendTo(joe.sid, "echo")))._tag, "BrowserNotFoundError")
      assert.strictEqual((yield* client.channel("room")).subscribers, 0)
      assert.strictEqual(vhost.browsers.count(), 0)
    }).pipe(within))

  it.effect("receives nothing after it was disconnected", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const joe = yield* browser()
      yield* joe.subscribe("room")
      // All at once, as a broker's own code could.
      yield* Effect.andThen(vhost.browsers.disconnect("sid", joe.sid), vhost.channels.broadcast("room", "late", {}))
      assert.strictEqual((yield* joe.allReceived).at(-1)?.event, ":closed")
    }).pipe(within))

  it.effect("disconnects without `close` at the end of its scope", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const ann = yield* browser({ uid: "ann" })
      yield* ann.subscribe("presence-room")
      const scope = yield* Scope.make()
      const joe = yield* Scope.provide(browser({ uid: "joe" }), scope)
      yield* joe.subscribe("presence-room")
      const kim = yield* Scope.provide(browser(), scope)
      yield* kim.close
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* ann.received(":memberLeft"))["uid"], "joe")
      assert.strictEqual((yield* joe.allReceived).at(-1)?.event, ":memberJoined")
      assert.deepStrictEqual([yield* joe.closed, yield* kim.closed], [1001, 1000])
    }).pipe(within))

  it.effect("is disconnected when its vhost is removed, and for a message that is too large", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const vhosts = yield* Vhosts.Vhosts
      const ann = yield* browser()
      const joe = yield* browser()
      assert.strictEqual((yield* Effect.flip(joe.send("ą".repeat(2501))))._tag, "BrowserClosedError")
      assert.strictEqual(yield* joe.closed, 1009)
      yield* ann.send("ą".repeat(2500))
      const waiting = yield* Effect.forkChild(Effect.flip(ann.received("hello")), { startImmediately: true })
      yield* vhosts.remove("/test")
      assert.strictEqual(yield* ann.closed, 1001)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "BrowserClosedError")
    }).pipe(within))
})

const cycle: Record<string, unknown> = {}
cycle["self"] = cycle
