import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Layer, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Endpoint, Event, EventGroup, EventRouter, Transport } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { eventually } from "../harness/eventually.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { untilState } from "./untilState.ts"

class Chat extends EventGroup.make(
  "chat",
  Event.make("ping"),
  Event.make("rename", {
    payload: { to: Schema.String },
    success: Schema.Struct({ at: Schema.DateTimeUtc }),
    error: Schema.Literals(["taken"])
  })
) {}

const within = Effect.provide(TestBroker.layer())

/** A worker that responds to requests, made by hand: it gets one event after the other. */
const responder = Effect.gen(function*() {
  const { url } = yield* TestBroker.TestBroker
  const transport = yield* Transport.Transport
  const session = yield* Exchanges.session(transport, Result.getOrThrow(Endpoint.fromUrl(url)))
  yield* session.send(["RD", "ack", "10", `{"responses":true}`])
  const inbox: Array<ReadonlyArray<string>> = []
  const next: Effect.Effect<{ readonly json: string; readonly id: string }, unknown> = Effect.gen(function*() {
    for (;;) {
      const frames = inbox.shift()
      if (frames?.[0] === "TR") return { json: frames[1]!, id: frames[2]! }
      if (frames === undefined) inbox.push(...yield* session.pull)
    }
  })
  return {
    next,
    respond: (id: string, outcome: "ok" | "error", json: string) => session.send(["RP", id, outcome, json]),
    nack: (id: string, reason: string) => session.send(["NK", id, reason])
  }
})

describe("a request", () => {
  it.effect("of a browser is responded to by a worker", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const worker = yield* responder
      const joe = yield* browser({ uid: "joe" })
      const succeeding = yield* Effect.forkChild(joe.request(Chat.events.rename, { to: "ann" }))
      const first = yield* worker.next
      assert.strictEqual(first.json, `{"chat/rename":{"to":"ann"}}`)
      yield* worker.respond(first.id, "ok", `{"at":"2020-01-01T00:00:00.000Z"}`)
      assert.strictEqual((yield* Fiber.join(succeeding)).at.epochMilliseconds, Date.UTC(2020, 0, 1))
      const declared = yield* Effect.forkChild(Effect.flip(joe.request(Chat.events.rename, { to: "ann" })))
      yield* worker.respond((yield* worker.next).id, "error", `"taken"`)
      assert.strictEqual(yield* Fiber.join(declared), "taken")
      const failing = yield* Effect.forkChild(Effect.flip(joe.request(Chat.events.rename, { to: "ann" })))
      yield* worker.nack((yield* worker.next).id, "a secret")
      const error = yield* Fiber.join(failing)
      assert(typeof error !== "string" && error._tag === "HandlerFailedError")
      assert.strictEqual(error.event, "chat/rename")
      assert.notInclude(error.message, "secret")
    }).pipe(Effect.scoped, within))

  it.effect("fails at once without a worker, and at its deadline", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const request = Effect.flip(joe.request(Chat.events.rename, { to: "ann" }, { timeout: "2 seconds" }))
      const none = yield* request
      assert(typeof none !== "string" && none._tag === "NoWorkerError")
      assert.strictEqual(none.event, "chat/rename")
      const worker = yield* responder
      const late = yield* Effect.forkChild(request)
      yield* worker.next
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(late)
      assert(typeof error !== "string" && error._tag === "RequestTimeoutError")
      assert.strictEqual(error.wasSent, "maybe")
    }).pipe(Effect.scoped, within))

  it.effect("in flight at a cut is handled once, and its response arrives on the next connection", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork } = yield* TestBroker.TestBroker
      const worker = yield* responder
      const joe = yield* browser({ uid: "joe", callTimeout: "1 minute" })
      const first = yield* untilState(joe, "Connected")
      const request = yield* Effect.forkChild(joe.request(Chat.events.rename, { to: "ann" }))
      const { id } = yield* worker.next
      yield* browserNetwork.disconnect()
      yield* untilState(joe, "Disconnected")
      yield* TestClock.adjust("5 seconds")
      assert.notStrictEqual((yield* untilState(joe, "Connected")).sid, first.sid)
      yield* worker.respond(id, "ok", `{"at":"2020-01-01T00:00:00.000Z"}`)
      yield* Fiber.join(request)
      // Nothing else was queued: the next event is another one.
      yield* joe.trigger(Chat.events.ping)
      assert.strictEqual(
        (yield* worker.next).json,
        `{"chat/ping":{"sid":"${(yield* untilState(joe, "Connected")).sid}"}}`
      )
    }).pipe(Effect.scoped, within))

  it.effect("that is interrupted is not handled any more", () =>
    Effect.gen(function*() {
      const { browser } = yield* TestBroker.TestBroker
      const worker = yield* responder
      const joe = yield* browser({ uid: "joe" })
      // Ten are in flight, and this one is queued.
      yield* Effect.forEach(
        Array.from({ length: 10 }, (_, index) => `${index}`),
        (to) => Effect.forkChild(joe.request(Chat.events.rename, { to }))
      )
      const request = yield* Effect.forkChild(joe.request(Chat.events.rename, { to: "ann" }))
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(request)
      yield* joe.trigger(Chat.events.ping)
      for (let index = 0; index < 10; index++) yield* worker.respond((yield* worker.next).id, "error", `"taken"`)
      assert.include((yield* worker.next).json, "chat/ping")
    }).pipe(Effect.scoped, within))
})

describe("a router", () => {
  const ChatLive = Chat.toLayer({
    ping: () => Effect.void,
    rename: ({ to }) =>
      to === "ann"
        ? Effect.fail("taken" as const)
        : to === ""
        ? Effect.die(new Error("a secret"))
        : Effect.succeed({ at: DateTime.makeUnsafe(0) })
  })
  const Backend = EventRouter.layer(Chat).pipe(Layer.provide(ChatLive), Layer.provideMerge(TestBroker.layerBackend()))

  it.effect("responds to a browser: with its result, its declared error, or that it failed", () =>
    Effect.gen(function*() {
      const { browser, vhost } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      yield* eventually(vhost.counts, ({ workers }) => workers === 1)
      assert.strictEqual((yield* joe.request(Chat.events.rename, { to: "bob" })).at.epochMilliseconds, 0)
      assert.strictEqual(yield* Effect.flip(joe.request(Chat.events.rename, { to: "ann" })), "taken")
      const error = yield* Effect.flip(joe.request(Chat.events.rename, { to: "" }))
      assert(typeof error !== "string" && error._tag === "HandlerFailedError")
      assert.notInclude(error.message, "secret")
    }).pipe(Effect.scoped, Effect.provide(Backend)))
})

describe("a trigger", () => {
  it.effect("whose confirmation was lost is sent again, and queued once", () =>
    Effect.gen(function*() {
      const { browser, browserNetwork, vhost } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe", callTimeout: "1 minute" })
      yield* joe.trigger(Chat.events.ping)
      const trigger = yield* Effect.forkChild(joe.trigger(Chat.events.ping))
      yield* Effect.repeat(Effect.yieldNow, {
        until: () => Effect.map(vhost.counts, ({ queued }) => queued === 2)
      })
      yield* browserNetwork.cut
      yield* untilState(joe, "Disconnected")
      assert.isUndefined(trigger.pollUnsafe(), "it is not confirmed")
      yield* browserNetwork.restore
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(trigger)
      assert.strictEqual((yield* vhost.counts).queued, 2)
    }).pipe(Effect.scoped, within))
})
