/**
 * What an application and an operator can see: traces that go on at the other side, metrics, and no secret in any of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, Metric, Redacted, Ref, References, Schema, Tracer } from "effect"
import { Browser } from "../src/browser/index.ts"
import { Client, Event, EventGroup, EventRouter, Message, Transport, Worker } from "../src/index.ts"
import type { Frames } from "../src/protocol/Frame.ts"
import { connect } from "./harness/Browser.ts"
import { eventually } from "./harness/eventually.ts"
import * as FakeTransport from "./harness/fakeTransport.ts"
import * as RecordingTracer from "./harness/recordingTracer.ts"
import { backend, layer, TestBroker, token, transports } from "./harness/TestBroker.ts"

class Chat extends EventGroup.make("chat", Event.make("say"), Event.make("count", { success: Schema.Int })) {}

/** A tracer that keeps every span it has made. */
const recorder = () => {
  const { spans, tracer } = RecordingTracer.make()
  const find = (name: string) =>
    Effect.map(
      eventually(
        Effect.sync(() => spans.find((span) => span.name === name && span.status._tag === "Ended")),
        (span) => span !== undefined
      ),
      (span) => span!
    )
  return { spans, tracer, find }
}

const parentOf = (span: Tracer.NativeSpan): string | undefined =>
  span.parent._tag === "Some" ? span.parent.value.spanId : undefined

/** A browser that has authenticated as joe. */
const joe = Effect.gen(function*() {
  const client = yield* Client.Client
  const { urls } = yield* TestBroker
  const secret = yield* client.requestSingleAccessToken("joe", ".*")
  const browser = yield* connect(urls.websocket)
  yield* browser.send({ auth: { token: Redacted.value(secret) } })
  yield* browser.nextOf(":authenticated")
  return { browser, secret: Redacted.value(secret) }
})

describe.each(transports)("over $name", ({ url }) => {
  it.live("a broadcast is one trace from the Client to the broker", () => {
    const { find, tracer } = recorder()
    return Effect.gen(function*() {
      const client = yield* Client.Client
      yield* client.broadcast("room", "hello", { what: "world" })
      const asked = yield* find("Client.broadcast")
      const answered = yield* find("Broker.broadcast")
      assert.strictEqual(answered.traceId, asked.traceId)
      assert.strictEqual(parentOf(answered), asked.spanId)
      assert.strictEqual(asked.kind, "producer")
      assert.deepInclude(Object.fromEntries(asked.attributes), {
        "messaging.system": "kosmonaut",
        "messaging.operation.type": "send",
        "messaging.operation.name": "broadcast",
        "messaging.destination.name": "room",
        "kosmonaut.event": "hello",
        "kosmonaut.vhost": "/test",
        "server.address": "127.0.0.1"
      })
    }).pipe(
      Effect.provide(Layer.provideMerge(backend(url), layer())),
      Effect.provideService(Tracer.Tracer, tracer)
    )
  })

  it.live("a trigger is one trace from the broker to the handler and what it broadcasts", () => {
    const { find, spans, tracer } = recorder()
    return Effect.gen(function*() {
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(worker.listen({
        onMessage: (message) => Message.broadcastReply(message, "room", "said")
      }))
      const { browser } = yield* joe
      yield* browser.send({ subscribe: { channel: "room" } })
      yield* browser.nextOf(":subscribed")
      yield* browser.send({
        trigger: { event: "say", data: { traceparent: `00-${"1".repeat(32)}-${"1".repeat(16)}-01` } }
      })
      yield* browser.nextOf("said")
      const triggered = yield* find("Broker.trigger")
      const handled = yield* find("Worker.handle")
      const replied = yield* find("Client.broadcast")
      const broadcast = yield* find("Broker.broadcast")
      assert.strictEqual(triggered.parent._tag, "None")
      assert.deepStrictEqual(
        [handled, replied, broadcast].map(({ traceId }) => traceId),
        Array(3).fill(triggered.traceId)
      )
      assert.deepStrictEqual([handled, replied, broadcast].map(parentOf), [
        triggered.spanId,
        handled.spanId,
        replied.spanId
      ])
      assert.strictEqual(handled.kind, "consumer")
      assert.strictEqual(handled.attributes.get("messaging.operation.type"), "process")
      assert.isFalse(spans.some(({ name }) => name.startsWith("http")))
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(backend(url), layer())),
      Effect.provideService(Tracer.Tracer, tracer)
    )
  })

  it.live("what a browser calls is one trace from the browser to the handler", () => {
    const { find, spans, tracer } = recorder()
    return Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls, vhost } = yield* TestBroker
      const handlers = Chat.toLayer({ say: () => Effect.void, count: () => Effect.succeed(1) })
      yield* Layer.build(Layer.provide(EventRouter.layer(Chat), handlers))
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length > 0)
      const browser = Browser.layer({
        url: urls.websocket,
        token: Effect.orDie(client.requestSingleAccessToken("joe", ".*"))
      })
      const joe = yield* Effect.provide(Browser.Browser, yield* Layer.build(browser))
      for (const call of ["trigger", "request"] as const) {
        yield* call === "trigger" ? joe.trigger(Chat.events.say) : joe.request(Chat.events.count)
        const called = yield* find(`Browser.${call}`)
        const enqueued = yield* find(`Broker.${call}`)
        assert.deepStrictEqual([enqueued.traceId, parentOf(enqueued)], [called.traceId, called.spanId])
        const handled = yield* eventually(
          Effect.sync(() => spans.find(({ name, traceId }) => name === "Worker.handle" && traceId === called.traceId)),
          (span) => span !== undefined
        )
        assert.strictEqual(parentOf(handled!), enqueued.spanId)
      }
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(backend(url), layer())),
      Effect.provideService(Tracer.Tracer, tracer)
    )
  })

  it.live("counts what happens, and shows no secret in spans, metrics or logs", () => {
    const { spans, tracer } = recorder()
    const logged: Array<string> = []
    const logger = Logger.map(Logger.formatJson, (line) => void logged.push(line))
    const test = Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const client = yield* Client.Client
      const failed = yield* Deferred.make<void>()
      const handled = yield* Ref.make(0)
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Effect.logInfo("handling").pipe(
            Effect.andThen(event === "bad" ? Effect.fail("bad") : Ref.update(handled, (n) => n + 1))
          ),
        onException: (cause) => Effect.andThen(Effect.logError("failed", cause), Deferred.succeed(failed, undefined))
      }))
      const { browser, secret } = yield* joe
      yield* browser.send({ subscribe: { channel: "presence-room" } })
      yield* browser.nextOf(":subscribed")
      yield* browser.send({ trigger: { event: "good" } })
      yield* browser.send({ trigger: { event: "bad" } })
      yield* Deferred.await(failed)
      yield* client.broadcast("presence-room", "hello")
      yield* Effect.flip(client.broadcast("nowhere", "hello"))
      yield* browser.nextOf("hello")

      const seen = yield* Metric.snapshot
      const value = (id: string, attributes: Record<string, string> = {}) => {
        const found = seen.find((metric) =>
          metric.id === id && Object.entries(attributes).every(([key, text]) => metric.attributes?.[key] === text)
        )
        return found === undefined || !("count" in found.state) && !("value" in found.state)
          ? undefined
          : "count" in found.state
          ? found.state.count
          : found.state.value
      }
      assert.deepStrictEqual({
        broadcasts: value("kosmonaut_client_requests_total", { command: "broadcast", outcome: "ok" }),
        notFound: value("kosmonaut_client_requests_total", { command: "broadcast", outcome: "ChannelNotFoundError" }),
        latency: value("kosmonaut_client_request_seconds", { command: "broadcast" }),
        answered: value("kosmonaut_broker_requests_total", { command: "broadcast", outcome: "454" }),
        handled: value("kosmonaut_worker_events_total", { outcome: "handled" }),
        failed: value("kosmonaut_worker_events_total", { outcome: "failed" }),
        inbox: value("kosmonaut_worker_inbox_events", { vhost: "/test" }),
        browsers: value("kosmonaut_broker_browsers"),
        workers: value("kosmonaut_broker_workers"),
        channels: value("kosmonaut_broker_channels"),
        subscriptions: value("kosmonaut_broker_subscriptions"),
        deliveries: value("kosmonaut_broker_deliveries_total"),
        accepted: value("kosmonaut_broker_events_total", { outcome: "accepted" }),
        delivered: value("kosmonaut_broker_events_total", { outcome: "delivered" }),
        // These are there before the first one, so that it shows in a rate.
        refused: value("kosmonaut_broker_refused_browsers_total", { reason: "origin" }),
        silent: value("kosmonaut_broker_disconnected_browsers_total", { reason: "silent" }),
        slow: value("kosmonaut_broker_slow_browsers_total")
      }, {
        broadcasts: 1,
        notFound: 1,
        latency: 2,
        answered: 1,
        handled: 1,
        failed: 1,
        inbox: 0,
        browsers: 1,
        workers: 1,
        channels: 3,
        subscriptions: 1,
        deliveries: 1,
        accepted: 2,
        delivered: 2,
        refused: 0,
        silent: 0,
        slow: 0
      })
      assert.strictEqual(yield* Ref.get(handled), 1)
      assert.isTrue(logged.some((line) => line.includes("kosmonaut.event") && line.includes("good")))

      const told = JSON.stringify([
        spans.map((span) => [span.name, [...span.attributes], span.events, span.status]),
        seen,
        logged
      ], (_key, text) => typeof text === "bigint" ? String(text) : text)
      assert.notInclude(told, token)
      assert.notInclude(told, secret)
    })
    return test.pipe(
      Effect.scoped,
      Effect.provide(
        Logger.layer([logger]).pipe(
          Layer.provideMerge(backend(url)),
          Layer.provideMerge(layer()),
          Layer.provide(Logger.layer([logger]))
        )
      ),
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Effect.provideService(References.MinimumLogLevel, "Trace")
    )
  })
})

/** A transport that keeps what is asked and says OK to all. */
const asked = (requests: Array<Frames>) =>
  Layer.succeed(
    Transport.Transport,
    FakeTransport.respondWith((frames) => {
      requests.push(frames)
      return ["OK"]
    })
  )

describe("on the wire", () => {
  const broadcast = (requests: Array<Frames>) =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* client.broadcast("room", "hello")
    }).pipe(
      Effect.provide(Client.layer({ url: `wr://${token}@127.0.0.1/test` }).pipe(Layer.provide(asked(requests))))
    )

  it.effect("nothing tells of a span where nobody traces, even within one of the default tracer's", () =>
    Effect.gen(function*() {
      const requests: Array<Frames> = []
      yield* Effect.withSpan(broadcast(requests), "of the application")
      assert.deepStrictEqual(requests, [["BC", "room", "hello", "{}"]])
    }))

  it.effect("a span travels after the arguments, not in the data", () =>
    Effect.gen(function*() {
      const requests: Array<Frames> = []
      const { spans, tracer } = recorder()
      yield* Effect.provideService(broadcast(requests), Tracer.Tracer, tracer)
      const { spanId, traceId } = spans[0]!
      assert.deepStrictEqual(requests, [[
        "BC",
        "room",
        "hello",
        "{}",
        JSON.stringify({ traceparent: `00-${traceId}-${spanId}-01` })
      ]])
    }))
})
