/**
 * What a Client requests of dead letters: over the network in memory, and by the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Client, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { tagOf } from "../harness/tagOf.ts"
import { backend, layer, TestBroker as SocketBroker } from "../harness/TestBroker.ts"

const within = (options?: TestBroker.BackendOptions) => Effect.provide(TestBroker.layerBackend(options))

const vhost = Effect.flatMap(testBroker, ({ vhost }) => Effect.succeed(vhost))

/** Dead letters with these texts, named `a-0` and so on. */
const die = (...texts: ReadonlyArray<string>) =>
  Effect.flatMap(vhost, ({ deadLetters }) =>
    Effect.forEach(
      texts,
      (json, n) => deadLetters.add({ id: `a-${n}`, json, origin: undefined, attempts: 1, reason: "no luck" }),
      { discard: true }
    ))

const ids = Effect.flatMap(vhost, ({ deadLetters }) => Effect.map(deadLetters.list, (all) => all.map(({ id }) => id)))

const list = Client.Client.use(({ deadLetters }) => Stream.runCollect(deadLetters.list))

const event = `{"save":{"n":1}}`

describe("a Client's dead letters", () => {
  it.effect("are events whose handlers failed: what they were, who triggered them, why and when they failed", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const joe = yield* browser({ uid: "joe" })
      const seen: Array<string | undefined> = []
      yield* TestClock.adjust("1 hour")
      yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: (message) =>
          Effect.suspend(() => {
            seen.push(message.id)
            return Effect.fail("no luck")
          }),
        onException: () => Effect.void
      }))
      yield* joe.trigger("save", { n: 1, text: "zażółć\n" })
      const letters = yield* eventually(list, ({ length }) => length === 1)
      assert.deepStrictEqual(letters, [{
        id: seen[0]!,
        event: "save",
        data: { n: 1, text: "zażółć\n", sid: joe.sid },
        size: Buffer.byteLength(JSON.stringify({ save: { n: 1, text: "zażółć\n", sid: joe.sid } })),
        origin: { sid: joe.sid, uid: "joe", channel: undefined },
        attempts: 1,
        reason: "no luck",
        failedAt: DateTime.makeUnsafe("1970-01-01T01:00:00Z")
      }])
    }).pipe(within()))

  it.effect("are replayed as new events with new attempts", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* die(event, event, event)
      yield* client.deadLetters.replay("a-1")
      assert.deepStrictEqual(yield* ids, ["a-0", "a-2"])
      assert.deepStrictEqual(yield* client.deadLetters.replayAll, { replayed: 2, left: 0 })
      assert.deepStrictEqual(yield* client.deadLetters.replayAll, { replayed: 0, left: 0 })
      const messages = yield* (yield* Worker.Worker).messages().pipe(Stream.take(3), Stream.runCollect)
      assert.deepStrictEqual(messages.map(({ attempt, event }) => [event, attempt]), Array(3).fill(["save", 1]))
      assert.isFalse(messages.some(({ id }) => id?.startsWith("a-")))
    }).pipe(within()))

  it.effect("stay if the queue is full, and it says how many", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* die(event, event, event)
      assert.deepStrictEqual(yield* client.deadLetters.replayAll, { replayed: 1, left: 2 })
      const error = yield* Effect.flip(client.deadLetters.replay("a-2"))
      assert.strictEqual(tagOf(error), "ProtocolError/InternalError")
      assert.include(error.message, "the queue is full")
      assert.notInclude(error.message, "may not know")
      assert.deepStrictEqual(yield* ids, ["a-1", "a-2"])
    }).pipe(within({ queue: { capacity: 1 } })))

  it.effect("are discarded, one or all", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* die(event, event, event)
      yield* client.deadLetters.discard("a-1")
      assert.deepStrictEqual(yield* ids, ["a-0", "a-2"])
      assert.strictEqual(yield* client.deadLetters.discardAll, 2)
      assert.strictEqual(yield* client.deadLetters.discardAll, 0)
      assert.deepStrictEqual(yield* list, [])
    }).pipe(within()))

  it.effect("are not there by an id that none has, whatever it is, and all stay", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      yield* die(event)
      for (const id of ["", "*", "nope", "a-0 ", " a-0", "a 0", "A-0", "{}", `{"traceparent":"x"}`, "__proto__", "ż"]) {
        for (const ask of [client.deadLetters.replay(id), client.deadLetters.discard(id)]) {
          assert.deepInclude(yield* Effect.flip(ask), { _tag: "DeadLetterNotFoundError", id })
        }
      }
      assert.deepStrictEqual(yield* ids, ["a-0"])
    }).pipe(within()))

  it.effect("are a thousand, over several messages, requested as they are wanted", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const { deadLetters } = yield* vhost
      yield* die(...Array.from({ length: 1000 }, (_, n) => JSON.stringify({ e: { n, text: "x".repeat(2500) } })))
      const letters = yield* list
      assert.deepStrictEqual(letters.map(({ id }) => id), Array.from({ length: 1000 }, (_, n) => `a-${n}`))
      // The first part says nothing of those that go later.
      let seen = 0
      yield* Stream.runForEach(client.deadLetters.list, () =>
        Effect.suspend(() => ++seen === 1 ? Effect.asVoid(deadLetters.takeAll) : Effect.void))
      assert.isAbove(seen, 1)
      assert.isBelow(seen, 1000)
    }).pipe(within()))

  it.effect("have no data if they are as large as a message, and are replayed with them", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const empty = JSON.stringify({ e: { text: "" } }).length
      const large = JSON.stringify({ e: { text: "x".repeat(1_048_576 - 256 - empty) } })
      yield* die(event, large, event)
      const letters = yield* list
      assert.deepStrictEqual(letters.map(({ data, event, id, size }) => ({ id, event, data, size })), [
        { id: "a-0", event: "save", data: { n: 1 }, size: event.length },
        { id: "a-1", event: "e", data: undefined, size: large.length },
        { id: "a-2", event: "save", data: { n: 1 }, size: event.length }
      ])
      yield* client.deadLetters.replay("a-1")
      const [message] = yield* (yield* Worker.Worker).messages().pipe(Stream.take(1), Stream.runCollect)
      assert.strictEqual(JSON.stringify({ e: message!.data }), large)
    }).pipe(within()))

  it.effect("are read however deeply a browser has nested its data, as are the data of browsers on a channel", () =>
    Effect.gen(function*() {
      const { rawBrowser: browser } = yield* TestBroker.TestBroker
      const client = yield* Client.Client
      const joe = yield* browser({ uid: "joe" })
      // With the words of the browser around it as deep as may be.
      const deep = JSON.parse(`{"a":`.repeat(253) + "{}" + "}".repeat(253)) as Record<string, never>
      yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: () => Effect.fail("no"),
        onException: () => Effect.void
      }))
      yield* joe.trigger("save", deep)
      const [letter] = yield* eventually(list, ({ length }) => length === 1)
      assert.deepStrictEqual(letter!.data, { ...deep, sid: joe.sid })
      yield* joe.subscribe("room", { data: deep })
      assert.deepStrictEqual(yield* Stream.runCollect(client.subscribers("room")), [{
        sid: joe.sid,
        uid: undefined,
        info: undefined,
        data: deep,
        isAway: false
      }])
    }).pipe(within({ channels: ["room"] })))

  it.live("are not requested over TCP by an id with a line break", () =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const { vhost } = yield* SocketBroker
      yield* vhost.deadLetters.add({ id: "a", json: event, origin: undefined, attempts: 1, reason: "no" })
      for (const id of ["a\n", "x\r\n\r\nDL\n*", "\ud800"]) {
        for (const ask of [client.deadLetters.replay(id), client.deadLetters.discard(id)]) {
          assert.strictEqual(tagOf(yield* Effect.flip(ask)), "ProtocolError/MessageEncodeError")
        }
      }
      assert.strictEqual((yield* Effect.flip(client.deadLetters.discard("a b")))._tag, "DeadLetterNotFoundError")
      assert.strictEqual((yield* vhost.deadLetters.list).length, 1)
    }).pipe(Effect.provide(Layer.provideMerge(backend("backendTcp"), layer()))))
})
