import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Queue, Redacted, Result, Schedule, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Client, Endpoint, Transport, Worker } from "../../src/index.ts"
import { Vhosts } from "../../src/server/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { cpuTime } from "../harness/cpuTime.ts"
import { testBroker } from "../harness/engine.ts"
import * as Exchanges from "../harness/exchanges.ts"

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(TestBroker.layerBackend({ channels: ["room"], ...options }))

/** Listens, and gives a queue of the names of the events that were handled. */
const listen = Effect.fnUntraced(function*(worker: Worker.Worker["Service"]) {
  const handled = yield* Queue.unbounded<string>()
  yield* Effect.forkScoped(worker.listen({ onMessage: ({ event }) => Queue.offer(handled, event) }))
  return handled
})

/** Waits until the worker stands so. */
const becomes = (worker: Worker.Worker["Service"], state: string) =>
  worker.changes.pipe(Stream.filter(({ _tag }) => _tag === state), Stream.runHead)

/** A worker made by hand: it says what it is told to, and nothing by itself. */
const mute = Effect.gen(function*() {
  const { url } = yield* TestBroker.TestBroker
  const transport = yield* Transport.Transport
  const session = yield* Exchanges.session(transport, Result.getOrThrow(Endpoint.fromUrl(url)))
  yield* session.send(["RD"])
  assert.deepStrictEqual(yield* session.pull, [["HB"]])
  // It is given events from now on.
  yield* session.send(["HB"])
  return session
})

describe("TestBroker", () => {
  it.effect("delivers an event of a browser to a handler, and its broadcast to a browser", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(
        worker.listen({ onMessage: ({ data, event }) => client.broadcast("room", "said", { event, data }) })
      )
      const ann = yield* browser()
      yield* ann.subscribe("room")
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("say", { text: "hello" })
      assert.deepStrictEqual(yield* ann.received("said"), {
        channel: "room",
        event: "say",
        data: { text: "hello", sid: joe.sid }
      })
    }).pipe(within()))

  it.effect("keeps workers connected through any adjustment of the clock", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const worker = yield* Worker.Worker
      const states = yield* Queue.unbounded<string>()
      yield* worker.changes.pipe(Stream.runForEach(({ _tag }) => Queue.offer(states, _tag)), Effect.forkScoped)
      const handled = yield* listen(worker)
      // At once, while it is still connecting.
      yield* TestClock.adjust("10 seconds")
      const { workers } = yield* vhost.lobby.info
      assert.strictEqual(workers.length, 1)
      for (const time of ["10 seconds", "499 millis", "1 millis", "3 minutes", "1501 millis"] as const) {
        yield* TestClock.adjust(time)
      }
      assert.deepStrictEqual(yield* vhost.lobby.info, { queued: 0, workers }, "it is the same connection")
      assert.deepStrictEqual((yield* Queue.clear(states)).filter((state) => state !== "Idle"), [
        "Connecting",
        "Connected"
      ])
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("say")
      assert.strictEqual(yield* Queue.take(handled), "say")
    }).pipe(within({ heartbeat: { interval: "500 millis" } })))

  it.effect(
    "moves its clock by hours at little cost, with a worker that stays connected",
    () =>
      Effect.gen(function*() {
        const { rawBrowser: browser, vhost } = yield* testBroker
        const worker = yield* Worker.Worker
        const handled = yield* listen(worker)
        yield* becomes(worker, "Connected")
        const { workers } = yield* vhost.lobby.info
        assert.strictEqual(workers.length, 1)
        const begin = cpuTime()
        yield* TestClock.adjust("6 hours")
        assert.isBelow(cpuTime() - begin, 1500)
        assert.deepStrictEqual((yield* vhost.lobby.info).workers, workers)
        const joe = yield* browser({ uid: "joe" })
        yield* joe.trigger("say")
        assert.strictEqual(yield* Queue.take(handled), "say")
      }).pipe(within()),
    30_000
  )

  it.effect("does not limit browsers unless a rate is configured", () =>
    Effect.gen(function*() {
      const send = (options: TestBroker.Options) =>
        Effect.gen(function*() {
          const { rawBrowser: browser } = yield* TestBroker.TestBroker
          const joe = yield* browser()
          for (let n = 0; n < 1500; n++) yield* joe.send({ ping: {} })
          return (yield* joe.allReceived).filter(({ event }) => event === ":pong").length
        }).pipe(Effect.provide(TestBroker.layer(options)))
      assert.strictEqual(yield* send({}), 1500)
      assert.strictEqual(
        yield* Effect.flip(send({ browsers: { messageRate: 100 } })).pipe(Effect.map(({ _tag }) => _tag)),
        "BrowserClosedError"
      )
      assert.strictEqual(yield* send({ browsers: { messageRate: 200 } }), 1000)
    }))

  it.effect("expires a worker that sends nothing, and redelivers its events to another", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const joe = yield* browser({ uid: "joe" })
      const silent = yield* mute
      yield* joe.trigger("first")
      assert.deepInclude(yield* silent.pull, ["TR", `{"first":{"sid":"${joe.sid}"}}`])
      yield* TestClock.adjust("1500 millis")
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 1)
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 0)
      assert.deepStrictEqual((yield* silent.pull).at(-1), ["QT"])
      assert.strictEqual((yield* Effect.flip(silent.pull)).reason._tag, "ConnectionClosedError")
      yield* joe.trigger("second")
      const handled = yield* listen(yield* Worker.Worker)
      assert.strictEqual(yield* Queue.take(handled), "second")
    }).pipe(within({ heartbeat: { interval: "500 millis" } })))

  it.effect("cuts and restores the network: the worker reconnects by its schedule", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, cut, restore, vhost } = yield* testBroker
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      const handled = yield* listen(worker)
      yield* becomes(worker, "Connected")
      const before = yield* vhost.lobby.info
      yield* cut
      yield* becomes(worker, "Disconnected")
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 0)
      const asking = yield* Effect.forkChild(Effect.flip(client.broadcast("room", "hello")))
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("kept")
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(asking)
      assert.strictEqual(error._tag === "ConnectionError" ? error.reason._tag : error._tag, "ConnectionRefusedError")
      assert.strictEqual((yield* vhost.lobby.info).queued, 1)

      yield* restore
      yield* client.broadcast("room", "hello")
      assert.strictEqual(yield* Queue.size(handled), 0)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* Queue.take(handled), "kept")
      assert.notDeepEqual(yield* vhost.lobby.info, before)
    }).pipe(within({ worker: { reconnect: Schedule.spaced("3 seconds") } })))

  it.effect.each([{}, { heartbeat: { interval: "100 millis", maxMissed: 5 } }] as const)(
    "expires its workers, which reconnect when the network is restored: %o",
    (options) =>
      Effect.gen(function*() {
        const { rawBrowser: browser, expireWorkers, restore, vhost } = yield* testBroker
        const worker = yield* Worker.Worker
        const handled = yield* listen(worker)
        yield* becomes(worker, "Connected")
        yield* expireWorkers
        const joe = yield* browser({ uid: "joe" })
        yield* joe.trigger("kept")
        assert.deepStrictEqual(yield* vhost.lobby.info, { queued: 1, workers: [] })
        yield* restore
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Queue.take(handled), "kept")
        assert.strictEqual((yield* vhost.lobby.info).workers.length, 1)
      }).pipe(within(options))
  )

  it.effect("holds what is sent while the network is silent until it is restored", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, restore, silence, vhost } = yield* testBroker
      const worker = yield* Worker.Worker
      const client = yield* Client.Client
      const handled = yield* listen(worker)
      yield* becomes(worker, "Connected")
      yield* silence
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("held")
      const asking = yield* Effect.forkChild(client.openChannel("late"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Queue.size(handled), 0)
      assert.strictEqual((yield* vhost.lobby.info).queued, 0, "it is on its way")
      yield* restore
      assert.strictEqual(yield* Queue.take(handled), "held")
      yield* Fiber.join(asking)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 1)
    }).pipe(within()))

  it.live("expires nothing without a clock that can be moved", () =>
    Effect.gen(function*() {
      const { expireWorkers } = yield* TestBroker.TestBroker
      const exit = yield* Effect.exit(expireWorkers)
      assert.include(String(Exit.isFailure(exit) && exit.cause), "needs TestClock")
    }).pipe(within()))

  it.effect("times out a Client's request without a response, by the test's clock", () =>
    Effect.gen(function*() {
      const { restore, silence } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      yield* silence
      const asking = yield* Effect.forkChild(Effect.flip(client.openChannel("new")))
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(asking.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(asking)
      assert.strictEqual(error._tag === "ConnectionError" ? error.reason._tag : error._tag, "ConnectionRefusedError")
      yield* restore
      yield* client.openChannel("new")
    }).pipe(within({ client: { retry: "none" } })))

  it.effect("has the configured vhost, and the broker's other options", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, url, vhost } = yield* testBroker
      assert.strictEqual(vhost.path, "/eu/chat")
      assert.match(Redacted.value(url), /^wr:\/\/f{40}@[\w.]+:\d+\/eu\/chat$/)
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger("one")
      assert.strictEqual((yield* Effect.flip(joe.trigger("two")))._tag, "InternalError")
      const client = yield* Client.Client
      const refused = yield* client.openChannel("second").pipe(
        Effect.catchReason("ProtocolError", "InternalError", ({ detail }) => Effect.succeed(detail))
      )
      assert.include(refused, "channels")
      yield* client.broadcast("first", "hello")
    }).pipe(
      within({ path: "/eu/chat", token: "f".repeat(40), channels: ["first"], queue: { capacity: 1 }, maxChannels: 1 })
    ))

  it.effect("fails for wrong options with what is wrong", () =>
    Effect.gen(function*() {
      const failure = (options: TestBroker.Options) =>
        Effect.map(Effect.flip(Layer.build(TestBroker.layer(options))), ({ _tag }) => _tag)
      assert.strictEqual(yield* failure({ path: "test" }), "InvalidVhostError")
      assert.strictEqual(yield* failure({ token: "secret" }), "InvalidVhostError")
      assert.strictEqual(yield* failure({ channels: ["%"] }), "InvalidChannelNameError")
    }))

  it.effect("is a broker of its own each time", () =>
    Effect.gen(function*() {
      const paths: Array<ReadonlyArray<string>> = []
      const look = (path: string) =>
        Layer.effectDiscard(Effect.gen(function*() {
          const vhosts = yield* Vhosts.Vhosts
          paths.push((yield* vhosts.list).map(({ path }) => path))
        })).pipe(Layer.provide(TestBroker.layer({ path })))
      yield* Layer.build(Layer.mergeAll(look("/one"), look("/two")))
      assert.sameDeepMembers(paths, [["/one"], ["/two"]])
    }))

  it.effect("dismisses its workers when it ends", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestBroker.layer(), scope)
      const session = yield* Effect.provideContext(mute, context)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* session.pull, [["QT"]])
      assert.strictEqual((yield* Effect.flip(session.pull)).reason._tag, "ConnectionClosedError")
    }))

  it.effect("ends also while the network is silent", () =>
    Effect.gen(function*() {
      yield* Effect.gen(function*() {
        const { silence } = yield* TestBroker.TestBroker
        const worker = yield* Worker.Worker
        yield* listen(worker)
        yield* becomes(worker, "Connected")
        yield* silence
        yield* TestClock.adjust("1 second")
      }).pipe(within())
      // Whoever listens still is stopped with the test, and waits for nothing.
    }))

  it.effect("lets a worker that stops finish what is running, and gets the rest back at once", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser, vhost } = yield* testBroker
      const worker = yield* Worker.Worker
      const started = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const handled: Array<string> = []
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Deferred.succeed(started, undefined).pipe(
            Effect.andThen(Deferred.await(gate)),
            Effect.andThen(Effect.sync(() => handled.push(event)))
          )
      }))
      const joe = yield* browser({ uid: "joe" })
      for (const event of ["a", "b", "c"]) yield* joe.trigger(event)
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* vhost.lobby.info).queued, 2)
      yield* joe.trigger("later")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["a"])
      assert.deepStrictEqual(yield* vhost.lobby.info, { queued: 3, workers: [] })
      assert.strictEqual(vhost.lobby.counters.acknowledged, 1)
    }).pipe(within({ heartbeat: { interval: "500 millis" } })))
})

it.layer(TestBroker.layerBackend({ channels: ["room"] }))("a TestBroker that tests share", (it) => {
  it.effect("uses their clock", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* listen(yield* Worker.Worker)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual((yield* vhost.lobby.info).workers.length, 1)
    }))
})
