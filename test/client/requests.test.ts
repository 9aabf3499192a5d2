/**
 * Requests to workers and their responses, and events that a backend triggers, from the Client to the handler and back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Layer, Queue, Schedule, Schema, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Client, Event, EventGroup, EventRouter, type KosmonautError, Lifecycle, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { tagOf } from "../harness/tagOf.ts"

class Taken extends Schema.TaggedError<Taken>("test/client/requests/Taken")("Taken", { by: Schema.String }) {}

class Chat extends EventGroup.make(
  "chat",
  Event.make("rename", {
    payload: { to: Schema.String },
    success: Schema.Struct({ name: Schema.String, at: Schema.Date }),
    error: Taken
  }),
  Event.make("touch", { error: Schema.Literal("never") }),
  Event.make("say", { payload: { room: Schema.String, text: Schema.String }, primaryKey: ({ room }) => room })
) {}

const { rename, say, touch } = Chat.events
const at = new Date(0)

/** The tag of a failure that has one, or else its text or name. */
const nameOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error && "_tag" in error
    ? String(error._tag)
    : error instanceof Error
    ? error.name
    : String(error)
}

type Rename = (to: string, isRequest: boolean) => Effect.Effect<{ readonly name: string; readonly at: Date }, Taken>

/** Runs a test with a router whose handlers of requests are these, and a record of what they and `onException` received. */
const routed = <A, E>(
  handlers: { readonly rename?: Rename; readonly touch?: Effect.Effect<void, "never"> },
  test: (context: {
    readonly client: Client.Client["Service"]
    readonly record: Queue.Queue<string>
  }) => Effect.Effect<A, E, TestBroker.TestBroker | Scope.Scope>,
  options: { readonly retry?: Schedule.Schedule<unknown>; readonly broker?: TestBroker.BackendOptions } = {}
) =>
  Effect.gen(function*() {
    const record = yield* Queue.unbounded<string>()
    const note = (text: string) => Queue.offer(record, text)
    const router = EventRouter.layer(Chat, {
      retry: options.retry,
      onException: (cause) => note(`exception ${nameOf(cause)}`)
    }).pipe(Layer.provide(Chat.toLayer({
      rename: ({ to }, { isRequest }) =>
        Effect.andThen(
          note(`rename ${to} ${isRequest}`),
          handlers.rename?.(to, isRequest) ?? Effect.succeed({ name: to, at })
        ),
      touch: () => Effect.andThen(note("touch"), handlers.touch ?? Effect.void),
      say: ({ text }, { isRequest, sid }) => Effect.asVoid(note(`say ${text} ${isRequest} ${sid}`))
    })))
    yield* Layer.build(router)
    return yield* test({ client: yield* Client.Client, record })
  }).pipe(Effect.provide(TestBroker.layerBackend(options.broker)))

describe("a request", () => {
  it.effect("succeeds with what its handler returned, by its Schema", () =>
    routed({}, ({ client, record }) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* client.request(rename, { to: "ann" }), { name: "ann", at })
        assert.isUndefined(yield* client.request(touch, {}))
        assert.deepStrictEqual(yield* Queue.clear(record), ["rename ann true", "touch"])
      })))

  it.effect("for an event that declares no response gets none of what its handler returned", () =>
    Effect.gen(function*() {
      const Plain = EventGroup.make("plain", Event.make("say"), Event.make("ask", { success: Schema.Number }))
      const secret = Effect.succeed({ secret: 1 }) as Effect.Effect<unknown> as Effect.Effect<void>
      const router = EventRouter.layer(Plain, { fallback: () => secret }).pipe(
        Layer.provide(Plain.toLayer({ say: () => secret, ask: () => Effect.succeed(1) }))
      )
      yield* Layer.build(router)
      const client = yield* Client.Client
      assert.isNull(yield* client.request("plain/say"))
      assert.isNull(yield* client.request("plain/other"))
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("fails with the error that its handler declares, which is neither retried nor an exception", () =>
    routed(
      { rename: () => Effect.fail(new Taken({ by: "joe" })), touch: Effect.fail("never") },
      ({ client, record }) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(client.request(rename, { to: "ann" }))
          assert.instanceOf(error, Taken)
          assert.deepInclude(error, { by: "joe" })
          assert.strictEqual(yield* Effect.flip(client.request(touch, {})), "never")
          assert.deepStrictEqual(yield* Queue.clear(record), ["rename ann true", "touch"])
          assert.deepStrictEqual(yield* Stream.runCollect(client.deadLetters.list), [])
        }),
      { retry: Schedule.recurs(3) }
    ))

  it.effect.each<[string, Rename, string]>([
    ["a defect", () => Effect.die(new Error("secret")), "exception Error"],
    ["an error that it does not declare", () => Effect.fail("secret" as never), "exception secret"],
    [
      "a response that does not fit its Schema",
      () => Effect.succeed({ name: 1 as never, at }),
      "exception MessageEncodeError"
    ],
    [
      "a response that is larger than a message",
      () => Effect.succeed({ name: "x".repeat(1_048_576), at }),
      "exception MessageEncodeError"
    ]
  ])(
    "fails without the cause if its handler gives %s, and the worker goes on",
    ([, handler, exception]) =>
      routed(
        { rename: (to) => to === "ann" ? handler(to, true) : Effect.succeed({ name: to, at }) },
        ({ client, record }) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(client.request(rename, { to: "ann" }))
            assert.strictEqual(error._tag, "HandlerFailedError")
            assert.notInclude(error.message, "secret")
            assert.deepStrictEqual(yield* Queue.clear(record), ["rename ann true", exception])
            assert.deepStrictEqual(yield* client.request(rename, { to: "joe" }), { name: "joe", at })
            assert.deepStrictEqual(yield* Stream.runCollect(client.deadLetters.list), [])
          })
      )
  )

  it.effect("ends at its deadline, and with it its handler", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      yield* routed(
        { rename: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)) },
        ({ client, record }) =>
          Effect.gen(function*() {
            const asking = yield* Effect.forkChild(
              Effect.flip(client.request(rename, { to: "ann" }, { timeout: "2 seconds" }))
            )
            assert.strictEqual(yield* Queue.take(record), "rename ann true")
            yield* TestClock.adjust("1999 millis")
            assert.isUndefined(asking.pollUnsafe())
            assert.isFalse(Deferred.isDoneUnsafe(interrupted))
            yield* TestClock.adjust("1 millis")
            const error = yield* Fiber.join(asking)
            assert.deepInclude(error, { _tag: "DeadlineExceededError", event: "chat/rename" })
            yield* Deferred.await(interrupted)
            assert.deepStrictEqual(yield* Queue.clear(record), [])
          })
      )
    }))

  it.effect("may take longer than other requests of a Client", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      yield* routed(
        { rename: (to) => Effect.as(Deferred.await(gate), { name: to, at }) },
        ({ client, record }) =>
          Effect.gen(function*() {
            const asking = yield* Effect.forkChild(client.request(rename, { to: "ann" }, { timeout: "50 seconds" }))
            yield* Queue.take(record)
            yield* TestClock.adjust("49 seconds")
            assert.isUndefined(asking.pollUnsafe())
            yield* Deferred.succeed(gate, undefined)
            assert.deepStrictEqual(yield* Fiber.join(asking), { name: "ann", at })
          })
      )
    }))

  it.effect("times out if the broker does not respond long after the deadline", () =>
    routed(
      { rename: () => Effect.never },
      ({ client, record }) =>
        Effect.gen(function*() {
          const { silence } = yield* TestBroker.TestBroker
          const asking = yield* Effect.forkChild(
            Effect.flip(client.request(rename, { to: "ann" }, { timeout: "10 seconds" }))
          )
          yield* Queue.take(record)
          yield* silence
          yield* TestClock.adjust("14900 millis")
          assert.isUndefined(asking.pollUnsafe())
          yield* TestClock.adjust("1 second")
          const error = yield* Fiber.join(asking)
          assert.deepInclude(error, { _tag: "RequestTimeoutError", wasSent: "maybe" })
        }),
      { broker: { client: { retry: "none" }, worker: { drainTimeout: 0 } } }
    ))

  it.effect("is not begun after its deadline, and does not keep others waiting", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      yield* routed(
        { touch: Deferred.await(gate) },
        ({ client, record }) =>
          Effect.gen(function*() {
            yield* client.trigger(touch._tag, {})
            assert.strictEqual(yield* Queue.take(record), "touch")
            const asking = yield* Effect.forkChild(
              Effect.flip(client.request(rename, { to: "late" }, { timeout: "1 second" }))
            )
            const { vhost } = yield* testBroker
            yield* eventually(Effect.sync(() => vhost.lobby.counters.unacknowledged), (count) => count === 2)
            yield* TestClock.adjust("1 second")
            assert.strictEqual((yield* Fiber.join(asking))._tag, "DeadlineExceededError")
            yield* Deferred.succeed(gate, undefined)
            assert.deepStrictEqual(yield* client.request(rename, { to: "ann" }), { name: "ann", at })
            assert.deepStrictEqual(yield* Queue.clear(record), ["rename ann true"])
          })
      )
    }))

  it.effect("fails at once if no worker responds", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
      const error = yield* Effect.flip(client.request(rename, { to: "ann" }))
      assert.deepInclude(error, { _tag: "NoWorkerError", event: "chat/rename" })
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("is JSON by the name of its event", () =>
    routed({ touch: Effect.fail("never") }, ({ client }) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* client.request("chat/rename", { to: "ann" }), { name: "ann", at: at.toJSON() })
        assert.isNull(yield* client.request("chat/say", { room: "a", text: "b" }))
        const error = yield* Effect.flip(client.request("chat/touch"))
        assert.deepInclude(error, { _tag: "ResponseError", event: "chat/touch", error: "never" })
        assert.strictEqual((yield* Effect.flip(client.request("chat/unknown")))._tag, "HandlerFailedError")
      })))

  it.effect("that cannot be right is not sent", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const wrong = [
        client.request("", {}),
        client.request(":memberJoined", {}),
        client.request("chat/rename", [] as object),
        client.request(rename, { to: 1 as never }),
        client.request(rename, { to: "ann" }, { timeout: 0 }),
        client.request(rename, { to: "ann" }, { timeout: "2 hours" }),
        client.trigger(Lifecycle.Members.events.memberJoined, { channel: "c", uid: "u", data: {} }),
        client.trigger(say, { room: "x".repeat(300), text: "" }),
        client.trigger("e", {}, { dedupeKey: "" }),
        client.trigger("e", {}, { delay: "31 days" })
      ]
      for (const request of wrong) {
        const error = yield* Effect.flip(request as Effect.Effect<unknown, KosmonautError.ProtocolError>)
        assert.include(["ProtocolError/BadRequestError", "ProtocolError/MessageEncodeError"], tagOf(error))
      }
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("gets the value of a plain handler as JSON", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      const exceptions = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(worker.listen({
        responses: true,
        onMessage: ({ data, event }) =>
          event === "sum"
            ? Effect.succeed({ sum: Number(data["a"]) + Number(data["b"]) })
            : event === "nothing"
            ? Effect.void
            : event === "no JSON"
            ? Effect.succeed(1n)
            : Effect.fail("secret"),
        onException: (cause) => Queue.offer(exceptions, nameOf(cause))
      }))
      yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
      assert.deepStrictEqual(yield* client.request("sum", { a: 1, b: 2 }), { sum: 3 })
      assert.isNull(yield* client.request("nothing"))
      for (const event of ["no JSON", "fails"]) {
        assert.strictEqual((yield* Effect.flip(client.request(event)))._tag, "HandlerFailedError")
      }
      assert.deepStrictEqual(yield* Queue.takeN(exceptions, 2), ["MessageEncodeError", "secret"])
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("ends with a worker that stops, and so does its handler", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const worker = yield* Worker.Worker
      const [begun, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const listening = yield* Effect.forkScoped(worker.listen({
        responses: true,
        onMessage: () =>
          Effect.onInterrupt(
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
            () => Deferred.succeed(interrupted, undefined)
          )
      }))
      yield* Stream.runDrain(Stream.takeUntil(worker.changes, ({ _tag }) => _tag === "Connected"))
      yield* Effect.forkScoped(client.request("wait", {}, { timeout: "1 hour" }))
      yield* Deferred.await(begun)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(stopping)
      assert.isTrue(Deferred.isDoneUnsafe(interrupted))
    }).pipe(Effect.provide(TestBroker.layerBackend())))
})

describe("an event that a backend triggers", () => {
  it.effect("is handled, without a browser", () =>
    routed({}, ({ client, record }) =>
      Effect.gen(function*() {
        yield* client.trigger(say, { room: "a", text: "typed" })
        assert.strictEqual(yield* Queue.take(record), "say typed false undefined")
        yield* client.trigger("chat/say", { room: "a", text: "named" })
        assert.strictEqual(yield* Queue.take(record), "say named false undefined")
      })))

  it.effect("is delivered when its delay has passed", () =>
    routed({}, ({ client, record }) =>
      Effect.gen(function*() {
        yield* client.trigger(say, { room: "a", text: "later" }, { delay: "1 minute" })
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(yield* Queue.size(record), 0)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Queue.take(record), "say later false undefined")
      })))

  it.effect("is queued once for each key: its own, or the primary key of its data", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const { vhost } = yield* testBroker
      yield* client.trigger(say, { room: "a", text: "1" })
      yield* client.trigger(say, { room: "a", text: "2" })
      assert.strictEqual(vhost.lobby.counters.queued, 1)
      yield* client.trigger(say, { room: "b", text: "3" })
      yield* client.trigger(say, { room: "a", text: "4" }, { dedupeKey: "other" })
      yield* client.trigger("anything", {}, { dedupeKey: "other" })
      assert.strictEqual(vhost.lobby.counters.queued, 3)
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("is handled if it is a request whose handler gives a declared error", () =>
    routed({ rename: () => Effect.fail(new Taken({ by: "joe" })) }, ({ client, record }) =>
      Effect.gen(function*() {
        yield* client.trigger(rename._tag, { to: "ann" })
        assert.strictEqual(yield* Queue.take(record), "rename ann false")
        const { vhost } = yield* testBroker
        yield* eventually(Effect.sync(() => vhost.lobby.counters.unacknowledged), (count) => count === 0)
        assert.deepStrictEqual(yield* Queue.clear(record), [])
        assert.deepStrictEqual(yield* Stream.runCollect(client.deadLetters.list), [])
      })))
})
