/**
 * Mistakes that the compiler cannot see, or was told not to: each is reported at once and in words.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Layer, Metric, Schema } from "effect"
import { Channel, Client, Event, EventGroup, EventRouter, Kosmonaut, Worker } from "../../src/index.ts"
import { Broker, Vhosts } from "../../src/server/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { engineOf } from "../harness/engine.ts"
import { tagOf } from "../harness/tagOf.ts"

class Chat extends EventGroup.make("chat", Event.make("say", { payload: { text: Schema.String } })) {}
class Game extends EventGroup.make("game", Event.make("move")) {}

/** A router for the chat, with this handler. */
const chat = (say: () => Effect.Effect<void>, options?: EventRouter.Options) =>
  Layer.provide(EventRouter.layer(Chat, options), Chat.toLayer({ say }))

/** A browser that has authenticated as joe. */
const joe = Effect.flatMap(TestBroker.TestBroker, ({ rawBrowser: browser }) => browser({ uid: "joe" }))

const asEffect = (given: unknown): Effect.Effect<void> => given as Effect.Effect<void>

describe("a handler that returns no Effect", () => {
  it.effect.each([
    { handler: (): unknown => Promise.resolve(), expected: "a Promise: wrap it in Effect.promise" },
    { handler: (): unknown => undefined, expected: "something that is no Effect" }
  ])("is passed to onException, and the worker goes on", ({ expected, handler }) =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const told = yield* Deferred.make<string>()
      const next = yield* Deferred.make<void>()
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) => event === "good" ? Deferred.succeed(next, undefined) : asEffect(handler()),
        onException: (cause) => Deferred.succeed(told, Cause.pretty(cause))
      }))
      const browser = yield* joe
      yield* browser.trigger("bad")
      assert.include(yield* Deferred.await(told), `The handler of "bad" gave ${expected}`)
      yield* browser.trigger("good")
      yield* Deferred.await(next)
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("is passed to a router's onException, too", () => {
    const told = Deferred.makeUnsafe<string>()
    return Effect.gen(function*() {
      const browser = yield* joe
      yield* browser.trigger("chat/say", { text: "hi" })
      assert.include(yield* Deferred.await(told), `The handler of "chat/say" gave a Promise`)
    }).pipe(Effect.provide(
      chat(() => asEffect(Promise.resolve()), {
        onException: (cause) => Deferred.succeed(told, Cause.pretty(cause))
      }).pipe(Layer.provideMerge(TestBroker.layerBackend()))
    ))
  })
})

describe("two routers on one Worker", () => {
  it.effect("are a defect that says what to do", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(Layer.mergeAll(
        chat(() => Effect.void),
        Layer.provide(EventRouter.layer(Game), Game.toLayer({ move: () => Effect.void }))
      )))
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("EventRouter.layer(Chat.merge(Game))"))
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("are none when one has ended", () =>
    Effect.gen(function*() {
      const router = chat(() => Effect.void)
      yield* Effect.scoped(Layer.build(Layer.fresh(router)))
      yield* Effect.scoped(Layer.build(Layer.fresh(router)))
    }).pipe(Effect.provide(TestBroker.layerBackend())))
})

describe("a handler that the compiler was told is there", () => {
  const defectOf = <A, E>(layer: Layer.Layer<A, E, Worker.Worker>) =>
    Layer.build(layer).pipe(
      Effect.exit,
      Effect.map((exit) => Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.pretty(exit.cause) : ""),
      Effect.provide(TestBroker.layerBackend()),
      Effect.scoped
    )

  it.effect("is a defect of the group's layer if it was forgotten", () =>
    Effect.gen(function*() {
      const ChatLive = Chat.toLayer({} as { readonly say: () => Effect.Effect<void> })
      assert.include(yield* defectOf(ChatLive), `The event "chat/say" has no handler`)
    }))

  it.effect("is a defect of the router if it was not provided", () =>
    Effect.gen(function*() {
      const router = EventRouter.layer(Chat) as unknown as Layer.Layer<never, never, Worker.Worker>
      assert.include(yield* defectOf(router), `The event router has no handler of "chat/say"`)
    }))
})

describe("two events with one name on the wire", () => {
  const say = Event.make("say", { payload: { line: Schema.Int } })

  it.each([
    ["in a group", () => EventGroup.make("chat", say, Event.make("say"))],
    ["in two groups that are merged", () => Chat.merge(EventGroup.make("chat", say))],
    ["in a group that is added to", () => Chat.add(say, Event.make("say"))]
  ])("are an error at once, %s", (_, declare) => {
    assert.throws(declare, /There are two events "(?:chat\/)?say"/)
  })

  it("are none if they are the same event", () => {
    const merged = Chat.merge(Chat, Chat.add(Event.make("left")))
    assert.deepStrictEqual(Object.keys(merged.events), ["chat/say", "chat/left"])
  })
})

describe("an event that a channel does not have", () => {
  it.effect("is not broadcast", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const Room = Channel.make("room", { events: Chat })
      for (const name of ["sey", "chat/say", "toString", "__proto__", ""]) {
        const error = yield* Effect.flip(client.broadcast(Room, name as "say", { text: "hi" }))
        assert.strictEqual(tagOf(error), "ProtocolError/BadRequestError")
        assert.include(error.message, `the channel room has no event ${JSON.stringify(name)}`)
      }
    }).pipe(Effect.provide(TestBroker.layerBackend({ channels: ["room"] }))))
})

describe("a name of the system", () => {
  it.effect("is not sent by a backend", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const browser = yield* joe
      const errors = [
        yield* Effect.flip(client.broadcast("room", ":memberLeft")),
        yield* Effect.flip(client.sendTo(browser.sid, ":closed"))
      ]
      for (const error of errors) {
        assert.strictEqual(tagOf(error), "ProtocolError/BadRequestError")
        assert.include(error.message, "names that begin with :")
      }
    }).pipe(Effect.provide(TestBroker.layerBackend({ channels: ["room"] }))))
})

describe("a URL that is not there", () => {
  it.effect("is an InvalidEndpointError", () =>
    Effect.gen(function*() {
      const missing = process.env["THERE_IS_NO_SUCH_VARIABLE"] as string
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Kosmonaut.layer({ url: missing }))))
      assert.strictEqual(error._tag, "InvalidEndpointError")
      assert.include(error.message, "is its environment variable set?")
    }))
})

describe("two brokers in one application", () => {
  const ports = { websocketPort: 0, backendPort: 0, tcpPort: 0 }

  it.live("are two", () => {
    const pathsOf = (path: string) =>
      Effect.gen(function*() {
        const { websocketPort } = yield* Broker.Broker
        const vhosts = yield* Effect.flatMap(Vhosts.Vhosts, ({ list }) => list)
        return { websocketPort, paths: vhosts.map((vhost) => vhost.path) }
      }).pipe(Effect.provide(Broker.layer({ ...ports, vhosts: [{ path }] })))
    return Effect.gen(function*() {
      const a = yield* pathsOf("/a").pipe(
        Effect.flatMap((a) => Effect.map(pathsOf("/b"), (b) => ({ a, b }))),
        Effect.provide(Broker.layer({ ...ports, vhosts: [{ path: "/outer" }] }))
      )
      assert.deepStrictEqual([a.a.paths, a.b.paths], [["/a"], ["/b"]])
    })
  })

  it.live("leave their counts when they stop", () =>
    Effect.gen(function*() {
      const counted = Effect.map(
        Metric.snapshot,
        (seen) => seen.find(({ id }) => id === "kosmonaut_broker_broadcasts_total")?.state
      )
      const once = Effect.gen(function*() {
        const vhost = engineOf(yield* Effect.flatMap(Vhosts.Vhosts, ({ get }) => get("/a")))
        yield* vhost.channels.broadcast("room", "hello", {})
      }).pipe(Effect.provide(Broker.layer({ ...ports, vhosts: [{ path: "/a", channels: ["room"] }] })))
      yield* once
      assert.deepInclude(yield* counted, { count: 1 })
      yield* once
      assert.deepInclude(yield* counted, { count: 2 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
