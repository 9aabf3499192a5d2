import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Queue,
  Redacted,
  References,
  Schedule,
  Schema,
  Scope,
  Tracer
} from "effect"
import { Client, EventGroup, EventRouter, Kosmonaut, type Worker } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import { backend, TestBroker, token } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

class Chat extends EventGroup.make("chat", { say: { text: Schema.String, at: Schema.Date }, left: {} }) {}
class Game extends EventGroup.make("game", { move: { x: Schema.Number } }) {}

/** Puts an event into the vhost, as an authenticated browser would. */
const trigger = (event: string, data: object = {}) =>
  TestBroker.use(({ vhost }) => vhost.lobby.enqueue(JSON.stringify({ [event]: data })))

const workers = (count: number) =>
  eventually(TestBroker.use(({ vhost }) => vhost.lobby.info), (info) => info.workers.length === count)

/** What is logged from warnings on: the level, the text and the causes. */
const logged = (into: Queue.Queue<string>) =>
  Logger.layer([Logger.make(({ cause, logLevel, message }) => {
    if (logLevel !== "Warn" && logLevel !== "Error") return
    Queue.offerUnsafe(into, `${logLevel}: ${[message].flat().join(" ")} ${Cause.pretty(cause)}`)
  })])

/** Builds a router over the test's broker; its scope is the test's. */
const run = <E>(
  router: Layer.Layer<never, E, Worker.Worker | Client.Client>,
  options?: Partial<Kosmonaut.Options>
) => Layer.build(Layer.provideMerge(router, backend("backend", options)))

/** A queue, and handlers that tell it what they got. */
const recorder = Effect.gen(function*() {
  const got = yield* Queue.unbounded<unknown>()
  const record = (...what: ReadonlyArray<unknown>) =>
    Effect.asVoid(Queue.offer(got, what.length === 1 ? what[0] : what))
  const take = (count: number) => Effect.replicateEffect(Queue.take(got), count)
  return { got, record, take, next: Queue.take(got) }
})

describe("EventRouter", () => {
  describe("handlers", () => {
    it.live("get what a browser triggers, with its data read, and can answer", () =>
      withBroker()(Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const { next, record } = yield* recorder
        const context = yield* run(EventRouter.layer(Chat, {
          say: ({ broadcastReply, data, event, sid }) =>
            Effect.andThen(record(event, data, sid), Effect.orDie(broadcastReply("room", "chat/said", data))),
          left: () => record("left")
        }))
        const client = Context.get(context, Client.Client)
        const issued = yield* client.requestSingleAccessToken("joe", ".*")
        const joe = yield* Browser.connect(urls.websocket)
        yield* joe.send({ auth: { token: Redacted.value(issued) } })
        yield* joe.send({ subscribe: { channel: "room" } })
        yield* joe.nextOf(":subscribed")
        yield* joe.send({
          trigger: { event: "chat/say", data: { text: "hi", at: "1970-01-01T00:00:00.000Z", more: 1 } }
        })
        assert.deepStrictEqual(yield* next, ["chat/say", { text: "hi", at: new Date(0) }, joe.sid])
        assert.deepStrictEqual(yield* joe.nextOf("chat/said"), {
          text: "hi",
          at: "1970-01-01T00:00:00.000Z",
          channel: "room"
        })
        yield* joe.send({ trigger: { event: "chat/left" } })
        assert.strictEqual(yield* next, "left")
      })))

    it.live("have the services of where their group is built, and share what they acquire until the end", () =>
      withBroker()(Effect.gen(function*() {
        class Name extends Context.Service<Name, string>()("test/Name") {}
        const { got, next, record } = yield* recorder
        const scope = yield* Scope.make()
        const group = EventRouter.group(
          Chat,
          Effect.gen(function*() {
            yield* Effect.acquireRelease(record("acquired"), () => record("released"))
            return { say: () => Effect.flatMap(Name, record), left: () => Effect.flatMap(Name, record) }
          })
        )
        yield* Layer.build(
          EventRouter.serve(Layer.provide(group, Layer.succeed(Name, "inner"))).pipe(
            Layer.provide(Layer.succeed(Name, "outer")),
            Layer.provide(backend("backend"))
          )
        ).pipe(Scope.provide(scope))
        assert.strictEqual(yield* next, "acquired")
        for (let n = 0; n < 2; n++) {
          yield* trigger("chat/left")
          assert.strictEqual(yield* next, "inner")
        }
        assert.strictEqual(yield* Queue.size(got), 0)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* next, "released")
      })))

    it.live("have a scope for each event", () =>
      withBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        yield* run(EventRouter.layer(Game, {
          move: ({ data }) =>
            Effect.andThen(
              Effect.acquireRelease(record("acquired", data.x), () => record("released", data.x)),
              record("handled", data.x)
            )
        }))
        for (const x of [1, 2]) {
          yield* trigger("game/move", { x })
          assert.deepStrictEqual(yield* take(3), [["acquired", x], ["handled", x], ["released", x]])
        }
      })))

    it.live("fail, die, throw and are interrupted, and the router goes on", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        const log = yield* Queue.unbounded<string>()
        yield* run(EventRouter.layer(
          Chat,
          {
            say: ({ data }) =>
              data.text === "fail"
                ? Effect.fail("failed")
                : data.text === "die"
                ? Effect.die("died")
                : data.text === "interrupt"
                ? Effect.interrupt
                : JSON.parse("{") as Effect.Effect<void>,
            left: () => record("left")
          },
          {
            onException: (cause, { data, event }) =>
              Effect.andThen(record(event, data["text"], cause), Effect.die("onException died"))
          }
        )).pipe(Effect.provide(logged(log)))
        for (const text of ["fail", "die", "throw", "interrupt"]) {
          yield* trigger("chat/say", { text, at: "1970-01-01T00:00:00.000Z" })
          const [event, given, cause] = (yield* next) as [string, string, Cause.Cause<unknown>]
          assert.deepStrictEqual([event, given], ["chat/say", text])
          assert.strictEqual(cause.reasons[0]?._tag, { fail: "Fail", interrupt: "Interrupt" }[text] ?? "Die")
          assert.match(yield* Queue.take(log), /^Error: onException failed.*onException died/)
        }
        yield* trigger("chat/left")
        assert.strictEqual(yield* next, "left")
      })))

    it.live("that fail are run again as the schedule says, and only then have failed", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        let scopes = 0
        yield* run(EventRouter.layer(
          Chat,
          {
            say: ({ data }) =>
              Effect.andThen(
                Effect.acquireRelease(Effect.sync(() => ++scopes), () => Effect.sync(() => --scopes)),
                (open) => Effect.andThen(record(data.text, open), Effect.fail(data.text))
              ),
            left: () => record("left")
          },
          { retry: Schedule.recurs(2), onException: (cause) => record("failed", Cause.squash(cause), scopes) }
        ))
        yield* trigger("chat/say", { text: "hello", at: "1970-01-01T00:00:00.000Z" })
        for (const _ of [1, 2, 3]) assert.deepStrictEqual(yield* next, ["hello", 1])
        assert.deepStrictEqual(yield* next, ["failed", "hello", 0])
        yield* trigger("chat/left")
        assert.strictEqual(yield* next, "left")
      })))

    it.live("that fail are logged by the event's name, without its data", () =>
      withBroker()(Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        yield* run(EventRouter.layer(Chat, { say: () => Effect.die(new Error("full")), left: () => Effect.void }))
          .pipe(Effect.provide(logged(log)))
        yield* trigger("chat/say", { text: "secret", at: "1970-01-01T00:00:00.000Z" })
        const line = yield* Queue.take(log)
        assert.match(line, /^Error: The handler of "chat\/say" failed Error: full/)
        assert.notInclude(line, "secret")
      })))
  })

  it.live("leaves each event its own span and name in the log, and a failed one is seen as failed", () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return withBroker()(Effect.gen(function*() {
      const { next, record } = yield* recorder
      yield* run(EventRouter.layer(
        Game,
        {
          move: () =>
            Effect.gen(function*() {
              yield* record((yield* Effect.currentSpan).name, yield* References.CurrentLogAnnotations)
              return yield* Effect.fail("failed")
            })
        },
        { onError: () => Effect.void, onException: () => Effect.void }
      )).pipe(Effect.annotateLogs("service", "games"), Effect.withSpan("start"))
      for (const data of [{ x: 1 }, { x: "no number" }]) yield* trigger("game/move", data)
      assert.deepStrictEqual(yield* next, ["Worker.handle", { service: "games", "kosmonaut.event": "game/move" }])
      const handled = yield* eventually(
        Effect.sync(() => spans.filter(({ name, status }) => name === "Worker.handle" && status._tag === "Ended")),
        ({ length }) => length === 2
      )
      for (const { status } of handled) assert.isTrue(status._tag === "Ended" && Exit.isFailure(status.exit))
    })).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  describe("groups", () => {
    it.live("are served together, also those of one name", () =>
      withBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        const More = EventGroup.make("chat", { typing: {} })
        yield* run(EventRouter.serve(Layer.mergeAll(
          EventRouter.group(Chat, { say: () => record("say"), left: () => record("left") }),
          EventRouter.group(Game, { move: ({ data }) => record("move", data.x) }),
          EventRouter.group(More, { typing: () => record("typing") })
        )))
        yield* trigger("game/move", { x: 1 })
        yield* trigger("chat/left")
        yield* trigger("chat/typing")
        assert.deepStrictEqual(yield* take(3), [["move", 1], "left", "typing"])
        yield* workers(1)
      })))

    it.live("in which an event is twice are a defect", () =>
      withBroker()(Effect.gen(function*() {
        const handlers = { move: () => Effect.void }
        const twice = Layer.mergeAll(EventRouter.group(Game, handlers), EventRouter.group(Game, { ...handlers }))
        const exit = yield* Effect.exit(run(EventRouter.serve(twice)))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "The event game/move has two handlers")
        yield* workers(0)
      })))

    it.live("can be registered with several routers", () =>
      withBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        const group = EventRouter.group(Game, { move: ({ data }) => record(data.x) })
        const onError = (error: EventRouter.RouterError) => record(error.message)
        yield* run(EventRouter.serve(group, { onError }))
        yield* Layer.build(Layer.fresh(Layer.provide(EventRouter.serve(group, { onError }), backend("backend"))))
        yield* workers(2)
        for (const x of [1, 2, 3, 4]) yield* trigger("game/move", { x })
        assert.sameMembers(yield* take(4), [1, 2, 3, 4])
      })))

    it.live("that cannot be made fail the layer, and nothing listens", () =>
      withBroker()(Effect.gen(function*() {
        const error = yield* Effect.flip(run(EventRouter.layer(
          Game,
          Effect.as(Effect.fail("no database" as const), { move: () => Effect.void })
        )))
        assert.strictEqual(error, "no database")
        yield* workers(0)
      })))
  })

  describe("what has no handler", () => {
    const game = EventRouter.group(Game, { move: () => Effect.void })
    const unknown = ["game/mve", "chat/say", "move", "/", ""]

    it.live("goes to the fallback, as it came", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(EventRouter.serve(game, { fallback: ({ data, event }) => record(event, data) }))
        for (const event of unknown) {
          yield* trigger(event, { any: ["thing"] })
          assert.deepStrictEqual(yield* next, [event, { any: ["thing"] }])
        }
      })))

    it.live("is an exception where the fallback fails", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(EventRouter.serve(game, {
          fallback: ({ event }) => Effect.fail(event),
          onException: (cause, { event }) => record(event, Cause.squash(cause))
        }))
        yield* trigger("chat/say")
        assert.deepStrictEqual(yield* next, ["chat/say", "chat/say"])
      })))

    it.live("is told to onError, as is what cannot be read", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(EventRouter.serve(game, { onError: (error) => record(error) }))
        for (const event of unknown) {
          yield* trigger(event)
          const error = (yield* next) as EventRouter.RouterError
          assert.strictEqual(
            error._tag,
            event.includes("/") ? "UndefinedHandlerError" : "InvalidEventNameError"
          )
          assert.include(error.message, JSON.stringify(event))
          if (error._tag === "UndefinedHandlerError") assert.deepStrictEqual(error.groups, ["game"])
        }
        yield* trigger("game/move", { x: "secret" })
        const error = (yield* next) as EventRouter.RouterError
        assert.strictEqual(error._tag, "MessageDecodeError")
        assert.include(error.message, "game/move")
        assert.notInclude(error.message, "secret")
      })))

    it.live("is a warning by default", () =>
      withBroker()(Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        yield* run(EventRouter.serve(game)).pipe(Effect.provide(logged(log)))
        yield* trigger("chat/say")
        assert.match(yield* Queue.take(log), /^Warn: No handler for the event "chat\/say"/)
        yield* trigger("say")
        assert.match(yield* Queue.take(log), /^Warn: Invalid event name "say"/)
      })))

    it.live("does not end the router, whatever is done about it", () =>
      withBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        const log = yield* Queue.unbounded<string>()
        const onError = (error: EventRouter.RouterError) =>
          Effect.andThen(record(error._tag), Effect.die("onError died"))
        yield* run(EventRouter.serve(game, { onError })).pipe(Effect.provide(logged(log)))
        for (let n = 0; n < 2; n++) {
          yield* trigger("chat/say")
          assert.strictEqual(yield* next, "UndefinedHandlerError")
          assert.match(yield* Queue.take(log), /^Error: onError failed.*onError died/)
        }
      })))

    it.live("may be a lifecycle event, where these are wanted", () =>
      withBroker()(Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const { next, record } = yield* recorder
        yield* run(
          EventRouter.serve(game, { lifecycle: true, fallback: ({ data, event }) => record(event, data["sid"]) })
        )
        const joe = yield* Browser.connect(urls.websocket)
        assert.deepStrictEqual(yield* next, [":lifecycle/browserConnected", joe.sid])
      })))
  })

  describe("its layer", () => {
    const router = EventRouter.layer(Game, { move: () => Effect.void })
    // A FakeBroker does not answer a goodbye, and need not be waited for.
    const quick = { reconnect: Schedule.spaced("10 millis"), drainTimeout: "50 millis" } as const
    const over = (url: Redacted.Redacted, options?: Partial<Kosmonaut.Options>) =>
      Layer.build(Layer.provide(router, Kosmonaut.layer({ url, ...quick, ...options })))

    it.live("is built when the broker has greeted the worker", () =>
      Effect.gen(function*() {
        const broker = yield* FakeBroker.make("backend")
        const building = yield* Effect.forkScoped(over(broker.url))
        const { peer } = yield* broker.nextOf("RD")
        assert.isUndefined(building.pollUnsafe())
        peer.sendUnsafe(["HB"])
        yield* Fiber.join(building)
      }))

    it.live("is built when there is no broker, and connects when there is one", () =>
      Effect.gen(function*() {
        const { port, url } = yield* Effect.scoped(FakeBroker.make("backend"))
        yield* over(url, { reconnect: Schedule.spaced("1 hour") })
        yield* over(url)
        const broker = yield* FakeBroker.make("backend", port)
        yield* broker.nextOf("RD")
      }).pipe(Effect.provide(Logger.layer([]))))

    it.live("fails when the token is refused", () =>
      withBroker()(Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const wrong = Redacted.value(urls.backend).replace(token, "f".repeat(40))
        const error = yield* Effect.flip(over(Redacted.make(wrong)))
        assert.strictEqual(error._tag, "UnauthorizedError")
      })))

    it.live("tells in the log when the token is refused later", () =>
      Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        const broker = yield* FakeBroker.make("backend")
        const building = yield* Effect.forkScoped(Effect.provide(over(broker.url), logged(log)))
        const { peer } = yield* broker.nextOf("RD")
        peer.sendUnsafe(["HB"])
        yield* Fiber.join(building)
        peer.sendUnsafe(["ER", "402"])
        assert.match(yield* Queue.take(log), /^Error: The event router has ended: no more events.*Unauthorized/s)
      }))

    it.live("hears the worker's errors in onError, too", () =>
      Effect.gen(function*() {
        const { next, record } = yield* recorder
        const broker = yield* FakeBroker.make("backend")
        const layer = EventRouter.layer(Game, { move: ({ data }) => record(data.x) }, {
          onError: (error) => record(error._tag)
        })
        yield* Effect.forkScoped(Layer.build(Layer.provide(layer, Kosmonaut.layer({ url: broker.url, ...quick }))))
        const { peer } = yield* broker.nextOf("RD")
        for (const frames of [["HB"], ["ER", "597"], ["TR", "{"], ["TR", `{"game/move":{"x":1}}`]]) {
          peer.sendUnsafe(frames)
        }
        assert.deepStrictEqual([yield* next, yield* next, yield* next], ["InternalError", "MessageDecodeError", 1])
      }))

    it.live("finishes what is in hand when it is closed, and leaves the rest to others", () =>
      withBroker()(Effect.gen(function*() {
        const { got, record } = yield* recorder
        const started = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        yield* run(EventRouter.layer(
          Game,
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => record("released"))
            return {
              move: ({ data }) =>
                Deferred.succeed(started, undefined).pipe(
                  Effect.andThen(Deferred.await(gate)),
                  Effect.andThen(record(data.x))
                )
            }
          })
        )).pipe(Scope.provide(scope))
        for (const x of [1, 2, 3]) yield* trigger("game/move", { x })
        yield* Deferred.await(started)
        const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
        const { vhost } = yield* TestBroker
        yield* eventually(vhost.lobby.info, ({ waiting }) => waiting === 2)
        yield* trigger("game/move", { x: 4 })
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(closing)
        assert.deepStrictEqual(yield* Queue.takeAll(got), [1, "released"])
        yield* workers(0)
        assert.strictEqual((yield* vhost.lobby.info).waiting, 3)
      })))

    it.live("tells nobody of a handler that is cut off by drainTimeout", () =>
      withBroker()(Effect.gen(function*() {
        const { got, next, record } = yield* recorder
        const scope = yield* Scope.make()
        const layer = EventRouter.layer(
          Game,
          {
            move: () => Effect.onInterrupt(Effect.andThen(record("started"), Effect.never), () => record("interrupted"))
          },
          { onException: () => record("exception") }
        )
        yield* run(layer, { drainTimeout: "50 millis" }).pipe(Scope.provide(scope))
        yield* trigger("game/move", { x: 1 })
        assert.strictEqual(yield* next, "started")
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* Queue.takeAll(got), ["interrupted"])
      })))
  })
})
