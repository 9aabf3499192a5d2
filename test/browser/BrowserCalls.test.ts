import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Duration, Effect, Exit, Fiber, Queue, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { Browser } from "../../src/browser/index.ts"
import { Channel, Client, Event, EventGroup, type Message, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import * as RecordingTracer from "../harness/recordingTracer.ts"
import * as ScriptedBroker from "./scriptedBroker.ts"
import { untilState } from "./untilState.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.NonEmptyString, at: Schema.DateTimeUtc } }),
  Event.make("ping"),
  Event.make("remind", { payload: { room: Schema.String }, primaryKey: ({ room }) => room }),
  Event.make("rename", {
    payload: { to: Schema.String },
    success: Schema.Struct({ at: Schema.DateTimeUtc }),
    error: Schema.Literals(["taken"])
  }),
  Event.make("forget", { error: Schema.Literals(["unknown"]) })
) {}

class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
const News = Channel.make("news", { events: Talk })

const within = (options?: TestBroker.BackendOptions) =>
  Effect.provide(TestBroker.layerBackend({ channels: ["news"], browsers: { broadcast: true }, ...options }))

const at = DateTime.makeUnsafe("2020-01-01T00:00:00Z")

const listen = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  const handled = yield* Queue.unbounded<Message.Message>()
  yield* Effect.forkScoped(worker.listen({ onMessage: (message) => Queue.offer(handled, message) }))
  return handled
})

/** A browser of a broker that the test plays, connected and authenticated. */
const scripted = Effect.fnUntraced(function*(options?: Omit<Browser.Options, "url">) {
  const broker = yield* ScriptedBroker.make
  const joe = yield* ScriptedBroker.connect(broker, options)
  yield* broker.accept
  return { broker, joe }
})

/** Starts a call, and gives its fiber when the broker has received it. */
const inFlight = Effect.fnUntraced(function*<A, E>(broker: ScriptedBroker.ScriptedBroker, call: Effect.Effect<A, E>) {
  const fiber = yield* Effect.forkChild(call)
  const [name, payload] = yield* broker.received
  return { fiber, name, payload }
})

describe("a trigger", () => {
  it.effect("is queued for a worker, in the JSON form of its Schema", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const handled = yield* listen
      const joe = yield* browser({ uid: "joe" })
      yield* joe.trigger(Chat.events.say, { text: "hello", at })
      const { event, raw, uid } = yield* Queue.take(handled)
      assert.deepStrictEqual([event, uid], ["chat/say", "joe"])
      assert.deepInclude(raw, { text: "hello", at: "2020-01-01T00:00:00.000Z" })
      yield* joe.trigger(Chat.events.ping)
      assert.strictEqual((yield* Queue.take(handled)).event, "chat/ping")
    }).pipe(within()))

  it.effect("with data that do not fit fails before anything is sent", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const error = yield* Effect.flip(joe.trigger(Chat.events.say, { text: "", at }))
      assert.strictEqual(error._tag === "ProtocolError" && error.reason._tag, "MessageEncodeError")
      const { name } = yield* inFlight(broker, joe.trigger(Chat.events.ping))
      assert.strictEqual(name, "trigger")
    }))

  it.effect("is queued once for its user while one with the same primary key is queued", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser({ uid: "joe" })
      const again = yield* browser({ uid: "joe" })
      const ann = yield* browser({ uid: "ann" })
      const remind = Chat.events.remind
      for (const [by, room] of [[joe, "a"], [joe, "a"], [again, "a"], [joe, "b"], [ann, "a"]] as const) {
        yield* by.trigger(remind, { room })
      }
      // A backend has keys of its own.
      yield* client.trigger(remind, { room: "a" })
      const handled = yield* listen
      const events = yield* Queue.takeN(handled, 4)
      assert.deepStrictEqual(events.map(({ raw, uid }) => [uid, raw["room"]]), [
        ["joe", "a"],
        ["joe", "b"],
        ["ann", "a"],
        [undefined, "a"]
      ])
      yield* joe.trigger(Chat.events.ping)
      assert.strictEqual((yield* Queue.take(handled)).event, "chat/ping")
    }).pipe(within()))

  it.effect("has the key of its event, which may not be too long", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const { payload } = yield* inFlight(broker, joe.trigger(Chat.events.remind, { room: "a" }))
      assert.strictEqual(payload["dedupeKey"], "chat/remind/a")
      const error = yield* Effect.flip(joe.trigger(Chat.events.remind, { room: "x".repeat(255) }))
      assert.strictEqual(error._tag === "ProtocolError" && error.reason._tag, "BadRequestError")
      const other = yield* inFlight(broker, joe.trigger(Chat.events.ping))
      assert.notProperty(other.payload, "dedupeKey")
    }))

  it.effect("waits for the connection and for the user", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      yield* browserNetwork.cut
      const joe = yield* browser({ uid: "joe" })
      const waiting = yield* Effect.forkChild(joe.trigger(Chat.events.ping, {}, { timeout: "1 minute" }))
      yield* TestClock.adjust("10 seconds")
      yield* browserNetwork.restore
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(waiting)
    }).pipe(within()))

  it.effect("times out, and says whether it was sent", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted({ callTimeout: "3 seconds" })
      const { fiber } = yield* inFlight(broker, Effect.flip(joe.trigger(Chat.events.ping)))
      yield* TestClock.adjust("3 seconds")
      const sent = yield* Fiber.join(fiber)
      assert(sent._tag === "RequestTimeoutError")
      assert.deepStrictEqual([Duration.toMillis(sent.after), sent.wasSent], [3000, "maybe"])
      yield* broker.close(1006)
      const unsent = yield* Effect.forkChild(Effect.flip(joe.trigger(Chat.events.ping, {}, { timeout: 2000 })))
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(unsent)
      assert(error._tag === "RequestTimeoutError")
      assert.deepStrictEqual([Duration.toMillis(error.after), error.wasSent], [2000, "no"])
    }))

  it.effect("in flight at a cut is sent again, with its id", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted({ callTimeout: "1 minute" })
      const first = yield* inFlight(broker, joe.trigger(Chat.events.ping))
      yield* broker.close(1006)
      yield* TestClock.adjust("20 seconds")
      yield* broker.accept
      const [name, payload] = yield* broker.received
      assert.deepStrictEqual([name, payload], [first.name, first.payload])
      yield* broker.send(":triggered", { id: payload.id })
      yield* Fiber.join(first.fiber)
    }))

  it.effect("fails with the error of the status", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const tags: Array<unknown> = []
      for (const code of [403, 429, 597, 402]) {
        const { fiber, payload } = yield* inFlight(broker, Effect.flip(joe.trigger(Chat.events.ping)))
        yield* broker.send(":error", { id: payload.id, code, status: "No", reason: "because" })
        const error = yield* Fiber.join(fiber)
        assert.include(error.message, "because")
        tags.push(error._tag === "ProtocolError" ? error.reason._tag : error._tag)
      }
      assert.deepStrictEqual(tags, ["ForbiddenError", "TooManyRequestsError", "InternalError", "UnauthorizedError"])
    }))

  it.effect("beyond the limit of pending calls is not sent", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted({ maxCalls: 1 })
      yield* inFlight(broker, joe.trigger(Chat.events.ping))
      assert.strictEqual((yield* Effect.flip(joe.trigger(Chat.events.ping)))._tag, "TooManyCallsError")
    }))

  it.effect("fails when the browser is closed", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const { fiber } = yield* inFlight(broker, Effect.flip(joe.trigger(Chat.events.ping)))
      yield* joe.close
      const error = yield* Fiber.join(fiber)
      assert(error._tag === "ConnectionClosedError")
      assert.strictEqual(error.code, 1000)
    }))
})

describe("a request", () => {
  it.effect("succeeds with the response, decoded", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const request = joe.request(Chat.events.rename, { to: "ann" }, { timeout: "2 seconds" })
      const { fiber, name, payload } = yield* inFlight(broker, request)
      assert.strictEqual(name, "request")
      assert.deepInclude(payload, { event: "chat/rename", data: { to: "ann" }, timeout: 2000 })
      yield* broker.send(":response", { id: payload.id, data: { at: "2020-01-01T00:00:00.000Z" } })
      assert.deepStrictEqual(yield* Fiber.join(fiber), { at })
      const nothing = yield* inFlight(broker, joe.request(Chat.events.forget))
      yield* broker.send(":response", { id: nothing.payload.id, data: null })
      assert.isUndefined(yield* Fiber.join(nothing.fiber))
    }))

  it.effect("fails with its declared error, or with what happened to it", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const failed = Effect.fnUntraced(function*(name: string, response: object) {
        const request = Effect.flip(joe.request(Chat.events.rename, { to: "ann" }))
        const { fiber, payload } = yield* inFlight(broker, request)
        yield* broker.send(name, { id: payload.id, ...response })
        const error = yield* Fiber.join(fiber)
        return typeof error === "string" ? error : error._tag === "ProtocolError" ? error.reason._tag : error._tag
      })
      assert.strictEqual(yield* failed(":response", { error: "taken" }), "taken")
      assert.strictEqual(yield* failed(":response", { error: "something else" }), "MessageDecodeError")
      assert.strictEqual(yield* failed(":response", { data: { at: 1 } }), "MessageDecodeError")
      for (
        const [code, tag] of [
          [457, "NoWorkerError"],
          [458, "HandlerFailedError"],
          [459, "RequestTimeoutError"],
          [403, "ForbiddenError"]
        ] as const
      ) {
        assert.strictEqual(yield* failed(":error", { code, status: "No", reason: "because", event: "request" }), tag)
      }
    }))

  it.effect("that is interrupted is cancelled", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const { fiber, payload } = yield* inFlight(broker, joe.request(Chat.events.rename, { to: "ann" }))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* broker.received, ["cancel", { id: payload.id }])
      // A response that was on its way is for nobody.
      yield* broker.send(":response", { id: payload.id, data: null })
      assert.strictEqual((yield* joe.state)._tag, "Connected")
    }))

  it.effect("needs a broker that knows requests", () =>
    Effect.gen(function*() {
      const broker = yield* ScriptedBroker.make
      const joe = yield* ScriptedBroker.connect(broker)
      const error = yield* Effect.forkChild(Effect.flip(joe.request(Chat.events.forget)))
      yield* Effect.yieldNow
      yield* broker.send(":connected", { sid: "sid" })
      const failure = yield* Fiber.join(error)
      assert(typeof failure !== "string" && failure._tag === "ProtocolError")
      assert.strictEqual(failure.reason._tag, "BadRequestError")
    }))
})

describe("a broadcast", () => {
  it.effect("is received by all on the channel, its sender among them", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      const { sid } = yield* untilState(joe, "Connected")
      const ann = yield* browser()
      const received = yield* Queue.unbounded<unknown>()
      for (const { subscribe } of [joe, ann]) {
        const news = yield* subscribe(News)
        yield* news.on("said", ({ text }, { sid }) => Queue.offer(received, [text, sid]))
      }
      yield* joe.broadcast(News, "said", { text: "hello" })
      assert.deepStrictEqual(yield* Queue.takeN(received, 2), [["hello", sid], ["hello", sid]])
    }).pipe(within()))

  it.effect("needs a subscription, and the broker's permission", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const joe = yield* browser()
      const error = Effect.flip(joe.broadcast(News, "said", { text: "hello" }))
      assert.strictEqual((yield* error)._tag, "NotSubscribedError")
      yield* joe.subscribe(News)
      assert.strictEqual((yield* error)._tag, "ForbiddenError")
    }).pipe(within({ browsers: { broadcast: false } })))

  it.effect("in flight at a cut fails, since it may have happened", () =>
    Effect.gen(function*() {
      const { broker, joe } = yield* scripted()
      const subscribing = yield* Effect.forkScoped(joe.subscribe(News))
      yield* broker.received
      yield* broker.send(":subscribed", { channel: "news", id: 0 })
      yield* Fiber.join(subscribing)
      const { fiber } = yield* inFlight(broker, Effect.flip(joe.broadcast(News, "said", { text: "hello" })))
      yield* broker.close(1006)
      const error = yield* Fiber.join(fiber)
      assert(error._tag === "ConnectionLostError")
      assert.strictEqual(error.subject, "talk/said")
    }).pipe(Effect.scoped))
})

describe("a call", () => {
  it.effect("has a span if somebody traces", () =>
    Effect.gen(function*() {
      const { spans, tracer } = RecordingTracer.make()
      const { broker, joe } = yield* scripted()
      const call = Effect.withTracer(joe.trigger(Chat.events.ping), tracer)
      const { fiber, payload } = yield* inFlight(broker, call)
      yield* broker.send(":triggered", { id: payload.id })
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(spans.map(({ attributes, name }) => [name, attributes.get("kosmonaut.event")]), [
        ["Browser.trigger", "chat/ping"]
      ])
      const { spanId, traceId } = spans[0]!
      assert.strictEqual(payload["traceparent"], `00-${traceId}-${spanId}-01`)
      const requested = yield* inFlight(broker, Effect.withTracer(joe.request(Chat.events.forget), tracer))
      assert.include(requested.payload["traceparent"], spans[1]!.spanId)
      const untraced = yield* inFlight(broker, joe.trigger(Chat.events.ping))
      assert.notProperty(untraced.payload, "traceparent")
    }))

  it.effect("with a timeout that none can have is a defect", () =>
    Effect.gen(function*() {
      const { joe } = yield* scripted()
      const exit = yield* Effect.exit(joe.trigger(Chat.events.ping, {}, { timeout: 0 }))
      assert(Exit.isFailure(exit))
      assert.isTrue(Result.isSuccess(Cause.findDefect(exit.cause)))
    }))
})
