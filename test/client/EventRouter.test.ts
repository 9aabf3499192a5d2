/** Events find their handlers, and what becomes of those that have none. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Effect,
  Exit,
  Layer,
  Queue,
  Redacted,
  References,
  Schedule,
  Schema,
  Scope,
  Tracer
} from "effect"
import { Client, Event, EventGroup, EventRouter, Message } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { memoryBackend, withMemoryBroker } from "../harness/memoryBroker.ts"
import * as RecordingTracer from "../harness/recordingTracer.ts"
import { Game, logged, recorder, routing, run, trigger, workers } from "../harness/routers.ts"
import { backend, TestBroker, transports } from "../harness/TestBroker.ts"
import { withBroker } from "../harness/withBroker.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String, at: Schema.Date } }),
  Event.make("left")
) {}

describe("EventRouter", () => {
  describe("handlers", () => {
    it.live.each(transports)(
      "receive what a browser triggers, with its data decoded, and can reply, over $name",
      ({ url }) =>
        withBroker()(Effect.gen(function*() {
          const { urls } = yield* TestBroker
          const { next, record } = yield* recorder
          const context = yield* Layer.build(Layer.provideMerge(
            Layer.provide(
              EventRouter.layer(Chat),
              Chat.toLayer({
                say: (data, message) => {
                  const { event, raw, sid } = message
                  assert.strictEqual(message.data, data)
                  return Effect.andThen(
                    record(event, data, raw["more"], sid),
                    Message.broadcastReply(message, "room", "chat/said", data)
                  )
                },
                left: () => record("left")
              })
            ),
            backend(url)
          ))
          const client = Context.get(context, Client.Client)
          const issued = yield* client.requestSingleAccessToken("joe", ".*")
          const joe = yield* Browser.connect(urls.websocket)
          yield* joe.send({ auth: { token: Redacted.value(issued) } })
          yield* joe.send({ subscribe: { channel: "room" } })
          yield* joe.nextOf(":subscribed")
          yield* joe.send({
            trigger: { event: "chat/say", data: { text: "hi", at: "1970-01-01T00:00:00.000Z", more: 1 } }
          })
          assert.deepStrictEqual(yield* next, ["chat/say", { text: "hi", at: new Date(0) }, 1, joe.sid])
          assert.deepStrictEqual(yield* joe.nextOf("chat/said"), {
            text: "hi",
            at: "1970-01-01T00:00:00.000Z",
            channel: "room"
          })
          yield* joe.send({ trigger: { event: "chat/left" } })
          assert.strictEqual(yield* next, "left")
        }))
    )

    it.effect("have the services that their layer was built with, and share what it acquires until the end", () =>
      withMemoryBroker()(Effect.gen(function*() {
        class Name extends Context.Service<Name, string>()("test/Name") {}
        const { got, next, record } = yield* recorder
        const scope = yield* Scope.make()
        const ChatLive = Chat.toLayer(Effect.gen(function*() {
          yield* Effect.acquireRelease(record("acquired"), () => record("released"))
          return Chat.of({ say: () => Effect.flatMap(Name, record), left: () => Effect.flatMap(Name, record) })
        }))
        yield* Layer.build(
          EventRouter.layer(Chat).pipe(
            Layer.provide(Layer.provide(ChatLive, Layer.succeed(Name, "inner"))),
            Layer.provide(Layer.succeed(Name, "outer")),
            Layer.provide(memoryBackend())
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

    it.effect("have a scope for each event", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        yield* run(routing((x) =>
          Effect.andThen(
            Effect.acquireRelease(record("acquired", x), () => record("released", x)),
            record("handled", x)
          )
        ))
        for (const x of [1, 2]) {
          yield* trigger("game/move", { x })
          assert.deepStrictEqual(yield* take(3), [["acquired", x], ["handled", x], ["released", x]])
        }
      })))

    it.effect("fail, die, throw and are interrupted, and the router goes on", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        const log = yield* Queue.unbounded<string>()
        const ChatLive = Chat.toLayer({
          say: ({ text }) =>
            text === "fail"
              ? Effect.fail("failed")
              : text === "die"
              ? Effect.die("died")
              : text === "interrupt"
              ? Effect.interrupt
              : JSON.parse("{") as Effect.Effect<void>,
          left: () => record("left")
        })
        const onException: EventRouter.Options["onException"] = (cause, { event, raw }) =>
          Effect.andThen(record(event, raw["text"], cause), Effect.die("onException died"))
        yield* run(Layer.provide(EventRouter.layer(Chat, { onException }), ChatLive)).pipe(
          Effect.provide(logged(log))
        )
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

    it.effect("that fail are retried as the schedule says, and only then have failed", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        let scopes = 0
        const ChatLive = Chat.toLayer({
          say: ({ text }) =>
            Effect.andThen(
              Effect.acquireRelease(Effect.sync(() => ++scopes), () => Effect.sync(() => --scopes)),
              (open) => Effect.andThen(record(text, open), Effect.fail(text))
            ),
          left: () => record("left")
        })
        const options: EventRouter.Options = {
          retry: Schedule.recurs(2),
          onException: (cause) => record("failed", Cause.squash(cause), scopes)
        }
        yield* run(Layer.provide(EventRouter.layer(Chat, options), ChatLive))
        yield* trigger("chat/say", { text: "hello", at: "1970-01-01T00:00:00.000Z" })
        for (const _ of [1, 2, 3]) assert.deepStrictEqual(yield* next, ["hello", 1])
        assert.deepStrictEqual(yield* next, ["failed", "hello", 0])
        yield* trigger("chat/left")
        assert.strictEqual(yield* next, "left")
      })))

    it.effect("that fail are logged by the event's name, without its data", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        const ChatLive = Chat.toLayer({ say: () => Effect.die(new Error("full")), left: () => Effect.void })
        yield* run(Layer.provide(EventRouter.layer(Chat), ChatLive)).pipe(Effect.provide(logged(log)))
        yield* trigger("chat/say", { text: "secret", at: "1970-01-01T00:00:00.000Z" })
        const line = yield* Queue.take(log)
        assert.match(line, /^Error: The handler of "chat\/say" failed Error: full/)
        assert.notInclude(line, "secret")
      })))
  })

  it.effect("leaves each event its own span and name in the log, and a failed one is seen as failed", () => {
    const { spans, tracer } = RecordingTracer.make()
    return withMemoryBroker()(Effect.gen(function*() {
      const { next, record } = yield* recorder
      const failing = Effect.gen(function*() {
        yield* record((yield* Effect.currentSpan).name, yield* References.CurrentLogAnnotations)
        return yield* Effect.fail("failed")
      })
      const options = { onError: () => Effect.void, onException: () => Effect.void }
      yield* run(routing(() => failing, options)).pipe(
        Effect.annotateLogs("service", "games"),
        Effect.withSpan("start")
      )
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
    it.effect("are routed together if they are merged, also those with one name", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        class More extends EventGroup.make("chat", Event.make("typing")) {}
        yield* run(Layer.provide(EventRouter.layer(Chat.merge(Game, More)), [
          Chat.toLayer({ say: () => record("say"), left: () => record("left") }),
          Game.toLayer({ move: ({ x }) => record("move", x) }),
          More.toLayer({ typing: () => record("typing") })
        ]))
        yield* trigger("game/move", { x: 1 })
        yield* trigger("chat/left")
        yield* trigger("chat/typing")
        assert.deepStrictEqual(yield* take(3), [["move", 1], "left", "typing"])
        yield* workers(1)
      })))

    it.effect("are routed by the names that they have on the wire, also with a prefix", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        const NewGame = Game.prefix("v2.")
        yield* run(Layer.provide(EventRouter.layer(Game.merge(NewGame)), [
          Game.toLayer({ move: ({ x }) => record("old", x) }),
          NewGame.toLayer({ move: ({ x }) => record("new", x) })
        ]))
        yield* trigger("v2.game/move", { x: 2 })
        yield* trigger("game/move", { x: 1 })
        assert.deepStrictEqual(yield* take(2), [["new", 2], ["old", 1]])
      })))

    it.effect("can be routed by several routers with the same handlers", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { record, take } = yield* recorder
        const GameLive = Game.toLayer({ move: ({ x }) => record(x) })
        const onError = (error: EventRouter.RouterError) => record(error.message)
        const router = Layer.provide(EventRouter.layer(Game, { onError }), GameLive)
        yield* run(router)
        yield* Layer.build(Layer.fresh(Layer.provide(router, memoryBackend())))
        yield* workers(2)
        for (const x of [1, 2, 3, 4]) yield* trigger("game/move", { x })
        assert.sameMembers(yield* take(4), [1, 2, 3, 4])
      })))

    it.effect("whose handlers cannot be made fail the layer, and nothing listens", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const GameLive = Game.toLayer(Effect.as(Effect.fail("no database" as const), { move: () => Effect.void }))
        const error = yield* Effect.flip(run(Layer.provide(EventRouter.layer(Game), GameLive)))
        assert.strictEqual(error, "no database")
        yield* workers(0)
      })))
  })

  describe("what has no handler", () => {
    const game = <R1, R2, R3>(options?: EventRouter.Options<R1, R2, R3>) => routing(() => Effect.void, options)
    const unknown = ["game/mve", "chat/say", "move", "/", "", "toString", "game/__proto__"]

    it.effect("goes to the fallback, as it was received", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(game({ fallback: ({ data, event }) => record(event, data) }))
        for (const event of unknown) {
          yield* trigger(event, { any: ["thing"] })
          assert.deepStrictEqual(yield* next, [event, { any: ["thing"] }])
        }
      })))

    it.effect("is an exception if the fallback fails", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(game({
          fallback: ({ event }) => Effect.fail(event),
          onException: (cause, { event }) => record(event, Cause.squash(cause))
        }))
        yield* trigger("chat/say")
        assert.deepStrictEqual(yield* next, ["chat/say", "chat/say"])
      })))

    it.effect("is passed to onError, as are data that do not fit their Schema", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        yield* run(game({ onError: (error) => record(error) }))
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

    it.effect("is a warning by default", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        yield* run(game()).pipe(Effect.provide(logged(log)))
        yield* trigger("chat/say")
        assert.match(yield* Queue.take(log), /^Warn: No handler for the event "chat\/say"/)
        yield* trigger("say")
        assert.match(yield* Queue.take(log), /^Warn: Invalid event name "say"/)
      })))

    it.effect("does not end the router, whatever is done about it", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { next, record } = yield* recorder
        const log = yield* Queue.unbounded<string>()
        const onError = (error: EventRouter.RouterError) =>
          Effect.andThen(record(error._tag), Effect.die("onError died"))
        yield* run(game({ onError })).pipe(Effect.provide(logged(log)))
        for (let n = 0; n < 2; n++) {
          yield* trigger("chat/say")
          assert.strictEqual(yield* next, "UndefinedHandlerError")
          assert.match(yield* Queue.take(log), /^Error: onError failed.*onError died/)
        }
      })))

    it.effect("may be a lifecycle event, if the router takes these", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { rawBrowser } = yield* testBroker
        const { next, record } = yield* recorder
        yield* run(
          game({ lifecycle: true, fallback: ({ data, event }) => record(event, data["sid"]) })
        )
        const joe = yield* rawBrowser()
        assert.deepStrictEqual(yield* next, [":lifecycle/browserConnected", joe.sid])
      })))
  })
})
