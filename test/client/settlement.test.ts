/**
 * What the broker is told of an event whose handler has failed: that it failed, and why; or, if nobody could have handled
 * it, that it is released; or that it was handled, if only a browser had gone.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Layer, Logger, Queue, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Client, Event, EventGroup, EventRouter } from "../../src/index.ts"
import {
  BrowserNotFoundError,
  ChannelNotFoundError,
  ConnectionClosedError,
  ConnectionError,
  MalformedMessageError,
  RequestTimeoutError
} from "../../src/protocol/KosmonautError.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { turn } from "../harness/eventually.ts"
import * as FakeNetwork from "../harness/fakeNetwork.ts"

const lost = new ConnectionError({ reason: new ConnectionClosedError({ address: "broker:8081" }) })
const late = new RequestTimeoutError({ command: "BC", after: Duration.seconds(5), wasSent: "maybe" })
const gone = (sid: string) => new BrowserNotFoundError({ sid })

/** What a handler's failure is settled with, and what onException received. */
const settlement = (handler: Effect.Effect<void, unknown>) =>
  Effect.gen(function*() {
    const { next, nextOf, worker } = yield* FakeNetwork.make()
    const told: Array<Cause.Cause<unknown>> = []
    yield* Effect.forkScoped(worker.listen({
      onMessage: () => handler,
      onException: (cause) => Effect.sync(() => told.push(cause))
    }))
    const { peer } = yield* nextOf("RD")
    peer.sendUnsafe(["TR", `{"e":{}}`, "a", "1", `{"sid":"s"}`])
    const settling = yield* Effect.forkScoped(
      Effect.forever(Effect.flatMap(next, ({ frames }) => frames?.[0] === "HB" ? Effect.void : Effect.fail(frames)))
        .pipe(Effect.flip)
    )
    yield* TestClock.adjust("499 millis")
    yield* Effect.repeat(turn, { times: 5 })
    const atOnce = settling.pollUnsafe() !== undefined
    yield* TestClock.adjust("1 millis")
    yield* Effect.repeat(turn, { times: 5 })
    return {
      frames: yield* Effect.flatten(Effect.sync(() => settling.pollUnsafe() ?? Effect.succeed([]))),
      atOnce,
      told: told.length
    }
  }).pipe(Effect.scoped)

describe("an event whose handler has failed", () => {
  it.effect.each<readonly [string, Effect.Effect<never, unknown>]>([
    ["a lost connection", Effect.fail(lost)],
    ["a request without a response", Effect.fail(late)],
    ["both", Effect.failCause(Cause.combine(Cause.fail(lost), Cause.fail(late)))]
  ])("since the broker was not there is released at the next heartbeat: %s", ([, handler]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* settlement(handler), { frames: ["NK", "a", ""], atOnce: false, told: 1 })
    }))

  it.effect.each<readonly [string, Effect.Effect<never, unknown>, RegExp]>([
    ["another failure", Effect.fail(new ChannelNotFoundError({ channel: "c" })), /^ChannelNotFoundError: /],
    [
      "an unreadable response",
      Effect.fail(new ConnectionError({ reason: new MalformedMessageError({ address: "b" }) })),
      /^ConnectionError: /
    ],
    ["a defect", Effect.die(lost), /^ConnectionError: /],
    ["a lost connection and another failure", Effect.failCause(Cause.combine(Cause.fail(lost), Cause.fail("no"))), /./],
    ["a browser that is not the event's", Effect.fail(gone("other")), /^BrowserNotFoundError: /],
    ["nothing that says something", Effect.fail(""), /./],
    ["a value", Effect.fail({ no: 1 }), /no/]
  ])("for another reason is nacked at once, with the reason: %s", ([, handler, reason]) =>
    Effect.gen(function*() {
      const { atOnce, frames, told } = yield* settlement(handler)
      assert.deepStrictEqual([frames?.slice(0, 2), atOnce, told], [["NK", "a"], true, 1])
      assert.match(frames?.[2] ?? "", reason)
    }))

  it.effect("because the browser that it replied to has disconnected counts as handled", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* settlement(Effect.fail(gone("s"))), { frames: ["AK", "a"], atOnce: true, told: 0 })
    }))
})

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String } }),
  Event.make("leave")
) {}

describe("a router", () => {
  const routed = (handle: () => Effect.Effect<void, unknown>, logger: Logger.Logger<unknown, void>) =>
    EventRouter.layer(Chat).pipe(
      Layer.provide(Chat.toLayer({ say: handle, leave: () => Effect.void })),
      Layer.provideMerge(TestBroker.layerBackend()),
      Layer.provideMerge(Logger.layer([logger]))
    )

  it.effect("nacks what it cannot handle with the tag of the error", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const client = yield* Client.Client
      for (const json of [`{"game/move":{}}`, `{"nothing":{}}`, `{"chat/say":{"text":1}}`]) {
        yield* vhost.lobby.enqueue(json)
      }
      const letters = yield* Effect.repeat(Effect.andThen(Effect.yieldNow, collected(client)), {
        until: (letters) => letters.length === 3
      })
      assert.deepStrictEqual(letters.map(({ reason }) => reason.split(":")[0]), [
        "UndefinedHandlerError",
        "InvalidEventNameError",
        "MessageDecodeError"
      ])
    }).pipe(Effect.provide(routed(() => Effect.void, Logger.make(() => undefined)))))

  it.effect("logs in one line that the broker was unreachable, and runs the handler again", () => {
    const logged: Array<{ readonly message: string; readonly level: string; readonly reasons: number }> = []
    const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      logged.push({ message: String(message), level: logLevel, reasons: cause.reasons.length })
    })
    const handled = Deferred.makeUnsafe<void>()
    let attempts = 0
    const handle = () => attempts++ === 0 ? Effect.fail(lost) : Effect.asVoid(Deferred.succeed(handled, undefined))
    return Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* vhost.lobby.enqueue(`{"chat/say":{"text":"hi"}}`)
      yield* TestClock.adjust("1 minute")
      yield* Deferred.await(handled)
      const about = logged.filter(({ message }) => message.includes("chat/say"))
      assert.deepStrictEqual(about, [{
        message: `The handler of "chat/say" is run again later: Lost the connection to the broker at broker:8081`,
        level: "Warn",
        reasons: 0
      }])
      assert.strictEqual(vhost.lobby.counters.unacknowledged, 0)
    }).pipe(Effect.provide(routed(handle, logger)))
  })
})

const collected = (client: Client.Client["Service"]) =>
  Effect.map(Effect.result(Stream.runCollect(client.deadLetters.list)), Result.getOrElse(() => []))

describe("an event of a broker without ids", () => {
  it.effect("gets one of its own, each a different one", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* FakeNetwork.make()
      const ids = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(worker.listen({ onMessage: ({ id }) => Queue.offer(ids, id) }))
      const { peer } = yield* nextOf("RD")
      for (let n = 0; n < 3; n++) peer.sendUnsafe(["TR", `{"e":{}}`])
      peer.sendUnsafe(["TR", `{"e":{}}`, "given", "1"])
      const [a, b, c, given] = yield* Queue.takeN(ids, 4)
      assert.strictEqual(new Set([a, b, c]).size, 3)
      for (const id of [a, b, c]) assert.match(id!, /^[0-9a-f-]{36}-\w+$/)
      assert.strictEqual(given, "given")
    }))
})
