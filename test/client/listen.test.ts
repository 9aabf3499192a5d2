/**
 * What a worker does with what it is sent, whatever carries it: over the network in memory, by the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Queue, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Worker } from "../../src/index.ts"
import type { Frames } from "../../src/protocol/Frame.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeNetwork from "../harness/fakeNetwork.ts"
import { tagOf } from "../harness/tagOf.ts"

const within = (options?: TestBroker.BackendOptions["worker"]) =>
  Effect.provide(TestBroker.layerBackend({ heartbeat: { interval: "500 millis" }, worker: options }))

/** Puts an event into the vhost, as an authenticated browser would. */
const trigger = (event: string, data: object = {}) =>
  Effect.flatMap(testBroker, ({ vhost }) => vhost.lobby.enqueue(JSON.stringify({ [event]: data })))

const withFake = FakeNetwork.make

describe("Worker.listen", () => {
  it.effect("passes failures and defects of handlers to onException, and goes on", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const causes = yield* Queue.unbounded<Cause.Cause<"boo">>()
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          event === "fail"
            ? Effect.fail("boo" as const)
            : event === "die"
            ? Effect.die(new Error("dead"))
            : event === "throw"
            ? JSON.parse("{") as Effect.Effect<never>
            : Effect.interrupt,
        onException: (cause) => Queue.offer(causes, cause)
      }))
      for (const event of ["fail", "die", "throw", "interrupt"]) yield* trigger(event)
      assert.deepStrictEqual(yield* Queue.take(causes), Cause.fail("boo" as const))
      assert.include(Cause.pretty(yield* Queue.take(causes)), "dead")
      assert.isTrue(Cause.hasDies(yield* Queue.take(causes)))
      assert.isTrue(Cause.hasInterruptsOnly(yield* Queue.take(causes)))
    }).pipe(within()))

  it.effect("ends what a handler has forked as its child when the handler ends, and not before", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const told = yield* Queue.unbounded<string>()
      const release = yield* Deferred.make<void>()
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Effect.gen(function*() {
            yield* Effect.forkChild(
              Effect.onInterrupt(Effect.never, () => Queue.offer(told, `child of ${event}`)),
              { startImmediately: true }
            )
            yield* Queue.offer(told, event)
            yield* Deferred.await(release)
          })
      }))
      yield* trigger("one")
      assert.strictEqual(yield* Queue.take(told), "one")
      assert.strictEqual(yield* Queue.size(told), 0)
      yield* trigger("two")
      yield* Deferred.succeed(release, undefined)
      assert.deepStrictEqual(yield* Queue.takeN(told, 3), ["child of one", "two", "child of two"])
    }).pipe(within()))

  it.effect("ends with the failure of a handler without onException, and leaves", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const { vhost } = yield* testBroker
      const listening = yield* Effect.forkScoped(
        worker.listen({ onMessage: ({ event }) => Effect.fail(`no ${event}`) })
      )
      yield* trigger("chat/say")
      assert.deepStrictEqual(yield* Fiber.await(listening), Exit.fail("no chat/say"))
      yield* Effect.repeat(Effect.andThen(Effect.yieldNow, vhost.lobby.info), {
        until: ({ workers }) => workers.length === 0
      })
    }).pipe(within()))

  it.effect("ends with a failure that is tagged like the end of a queue", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const failure = { _tag: "Done" } as const
      const listening = yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.fail(failure) }))
      yield* trigger("chat/say")
      assert.deepStrictEqual(yield* Fiber.await(listening), Exit.fail(failure))
    }).pipe(within()))

  it.effect("ends with the failure of onException", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: () => Effect.fail("first" as const),
        onException: () => Effect.fail("second" as const)
      }))
      yield* trigger("chat/say")
      assert.deepStrictEqual(yield* Fiber.await(listening), Exit.fail("second" as const))
    }).pipe(within()))

  it.effect("passes protocol errors to onError, and goes on", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      const heard = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) => Queue.offer(heard, event),
        onError: (error) => Queue.offer(heard, tagOf(error))
      }))
      const { peer } = yield* nextOf("RD")
      const said = [
        [["HB"]],
        [["ER", "400"], "ProtocolError/BadRequestError"],
        [["ER", "597"], "ProtocolError/InternalError"],
        [["ER", "499"], "ProtocolError/UnknownServerError"],
        [["ER", "x"], "ProtocolError/MessageDecodeError"],
        [["TR", "{"], "ProtocolError/MessageDecodeError"],
        [["TR", "[]"], "ProtocolError/MessageDecodeError"],
        [["TR", "{\"a\":1}"], "ProtocolError/MessageDecodeError"],
        [["TR", "{\"a\":{},\"b\":{}}"], "ProtocolError/MessageDecodeError"],
        [["??"], "ProtocolError/MessageDecodeError"],
        [["OK"], "ProtocolError/MessageDecodeError"],
        [["OK", "[]"], "ProtocolError/MessageDecodeError"],
        [["TR", "{\"chat/say\":{}}"], "chat/say"]
      ] as const
      for (const [frames] of said) peer.sendUnsafe(frames)
      for (const [, expected] of said.slice(1)) assert.strictEqual(yield* Queue.take(heard), expected)
    }))

  it.effect("ends with a later 402, too", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      const listening = yield* Effect.forkScoped(Effect.flip(worker.listen({ onMessage: () => Effect.void })))
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["HB"])
      peer.sendUnsafe(["ER", "402"])
      assert.strictEqual((yield* Fiber.join(listening))._tag, "UnauthorizedError")
    }))

  it.effect("sends heartbeats while a handler is slow", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      const gate = yield* Deferred.make<void>()
      const handling = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        worker.listen({ onMessage: () => Effect.andThen(Deferred.succeed(handling, undefined), Deferred.await(gate)) })
      )
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["TR", "{\"slow\":{}}"])
      yield* Deferred.await(handling)
      for (let n = 0; n < 10; n++) {
        yield* TestClock.adjust("500 millis")
        const beat = yield* nextOf("HB")
        assert.strictEqual(beat.peer.connection, peer.connection)
        peer.sendUnsafe(["HB"])
      }
      yield* Deferred.succeed(gate, undefined)
    }))

  it.effect("handles up to `concurrency` events at a time", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const { vhost } = yield* testBroker
      const started = yield* Queue.unbounded<string>()
      const gate = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        worker.listen({ onMessage: ({ event }) => Effect.andThen(Queue.offer(started, event), Deferred.await(gate)) })
      )
      for (const event of ["a", "b", "c", "d", "e"]) yield* trigger(event)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* vhost.lobby.info).queued, 0)
      assert.deepStrictEqual(yield* Queue.clear(started), ["a", "b", "c"])
      yield* Deferred.succeed(gate, undefined)
      for (const event of ["d", "e"]) assert.strictEqual(yield* Queue.take(started), event)
    }).pipe(within({ concurrency: 3 })))

  it.effect("does not wait for a handler longer than drainTimeout when it is interrupted", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: () =>
          Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
      }))
      yield* trigger("endless")
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopping)
      yield* Deferred.await(interrupted)
    }).pipe(within({ drainTimeout: "10 seconds" })))

  it.effect("restarts a reconnect schedule that ends, a moment later", () =>
    Effect.gen(function*() {
      const attempts = yield* Queue.unbounded<void>()
      const { network, worker } = yield* withFake({
        reconnect: Schedule.recurs(2).pipe(Schedule.tap(() => Queue.offer(attempts, undefined)))
      })
      yield* network.cut
      yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      yield* TestClock.adjust("99 millis")
      const each = (yield* Queue.clear(attempts)).length
      assert.isAbove(each, 1)
      for (let n = 0; n < 5; n++) {
        yield* TestClock.adjust("100 millis")
        assert.strictEqual((yield* Queue.clear(attempts)).length, each)
      }
    }))

  it.effect("publishes its connection state", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake({ reconnect: Schedule.spaced("3 seconds") })
      const states = yield* Queue.unbounded<string>()
      yield* worker.changes.pipe(
        Stream.runForEach((state) =>
          Queue.offer(states, state._tag === "Disconnected" ? `Disconnected: ${state.reason.reason._tag}` : state._tag)
        ),
        Effect.forkScoped
      )
      assert.strictEqual(yield* Queue.take(states), "Idle")
      const listening = yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      assert.strictEqual(yield* Queue.take(states), "Connecting")
      const first = yield* nextOf("RD")
      assert.strictEqual((yield* worker.state)._tag, "Connecting", "it is connected when it is greeted")
      first.peer.sendUnsafe(["HB"])
      assert.strictEqual(yield* Queue.take(states), "Connected")
      first.peer.sendUnsafe(["QT"])
      assert.strictEqual(yield* Queue.take(states), "Disconnected: ConnectionClosedError")
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual(yield* Queue.size(states), 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Queue.take(states), "Connecting")
      const second = yield* nextOf("RD")
      second.peer.sendUnsafe(["HB"])
      assert.strictEqual(yield* Queue.take(states), "Connected")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Queue.take(states), "Disconnected: ConnectionTimeoutError")
      yield* Fiber.interrupt(listening)
      assert.strictEqual(yield* Queue.take(states), "Idle")
    }))
})

describe("Worker.listen, at a broker with acks", () => {
  it.effect.each(
    [
      [{}, "128", 1],
      [{ concurrency: 100 }, "200", 1],
      [{ concurrency: 100, prefetch: 7, maxAttempts: 3 }, "7", 3]
    ] as const
  )("sends its prefetch and maxAttempts: %o", ([options, prefetch, maxAttempts]) =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake(options)
      yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      const { frames } = yield* nextOf("RD")
      assert.deepStrictEqual(frames, ["RD", "ack", prefetch, JSON.stringify({ lifecycle: false, maxAttempts })])
    }))

  it.effect("acks many events in one message, in order, up to the limit", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      const { peer } = yield* nextOf("RD")
      const ids = Array.from({ length: 120 }, (_, n) => `e-${n}`)
      for (const id of ids) peer.sendUnsafe(["TR", `{"e":{}}`, id, "1", "{}"])
      const said: Array<Frames> = []
      const acknowledged = () => said.flatMap((frames) => frames.slice(1))
      while (acknowledged().length < ids.length) said.push((yield* nextOf("AK")).frames!)
      assert.deepStrictEqual(acknowledged(), ids)
      assert.isAtMost(Math.max(...said.map(({ length }) => length - 1)), 50)
      assert.isBelow(said.length, ids.length / 2)
    }))

  it.effect("when interrupted sets its prefetch to 0, releases, finishes, and only then sends QT", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      const started = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const handled: Array<string> = []
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Effect.andThen(
            Deferred.succeed(started, undefined),
            Effect.andThen(Deferred.await(gate), Effect.sync(() => handled.push(event)))
          )
      }))
      const { peer } = yield* nextOf("RD")
      for (const id of ["a", "b"]) peer.sendUnsafe(["TR", `{"e":{}}`, id, "1"])
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      const { frames: ready } = yield* nextOf("RD")
      assert.deepStrictEqual(ready?.slice(0, 3), ["RD", "ack", "0"])
      assert.deepStrictEqual((yield* nextOf("NK")).frames, ["NK", "b", ""])
      // On its way before the broker heard of it.
      peer.sendUnsafe(["TR", `{"e":{}}`, "c", "1"])
      assert.deepStrictEqual((yield* nextOf("NK")).frames, ["NK", "c", ""])
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual((yield* nextOf("AK")).frames, ["AK", "a"])
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["e"])
    }))

  it.effect("ends as a stream in this order: prefetch 0, releases, QT", () =>
    Effect.gen(function*() {
      const { next, nextOf, worker } = yield* withFake()
      const received = yield* Deferred.make<void>()
      const streaming = yield* Effect.forkScoped(
        Stream.runForEach(worker.messages(), ({ event }) =>
          event === "b" ? Deferred.succeed(received, undefined) : Effect.void)
      )
      const { peer } = yield* nextOf("RD")
      for (const id of ["a", "b"]) {
        peer.sendUnsafe(["TR", `{"${id}":{}}`, id, "1"])
      }
      yield* Deferred.await(received)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(streaming))
      const sent: Array<Frames | undefined> = []
      while (sent.at(-1)?.[0] !== "QT") {
        sent.push((yield* next).frames)
      }
      assert.deepStrictEqual(
        sent.filter((frames) =>
          frames?.[0] !== "HB"
        ).map((frames) => frames?.slice(0, 3)),
        [
          ["RD", "ack", "0"],
          ["NK", "a", ""],
          ["NK", "b", ""],
          ["QT"]
        ]
      )
      yield* Fiber.join(stopping)
    }))

  it.effect("ends as a stream in drainTimeout if the broker does not respond", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake({ drainTimeout: "3 seconds", silenceTimeout: "1 hour" }, {
        answersQuit: false
      })
      const received = yield* Deferred.make<void>()
      const streaming = yield* Effect.forkScoped(
        Stream.runForEach(worker.messages(), () => Deferred.succeed(received, undefined))
      )
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["TR", `{"e":{}}`, "a", "1"])
      yield* Deferred.await(received)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(streaming))
      yield* nextOf("QT")
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopping)
      assert.strictEqual((yield* worker.state)._tag, "Idle")
    }))

  it.effect("nacks what is not an event, with the reason, and passes the error to onError", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake()
      const heard = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(worker.listen({
        onMessage: () => Effect.void,
        onError: (error) => Queue.offer(heard, tagOf(error))
      }))
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["TR", "{", "a", "1"])
      const { frames } = yield* nextOf("NK")
      assert.deepStrictEqual(frames?.slice(0, 2), ["NK", "a"])
      assert.match(frames?.[2] ?? "", /^MessageDecodeError: .*not JSON/)
      assert.strictEqual(yield* Queue.take(heard), "ProtocolError/MessageDecodeError")
    }))

  it.effect("finishes what it received from a broker without acks, even if an earlier one had them", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* withFake({ reconnect: Schedule.spaced("1 second") })
      const started = yield* Queue.unbounded<string>()
      const gate = yield* Deferred.make<void>()
      const handled: Array<string> = []
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Effect.andThen(
            Queue.offer(started, event),
            Effect.andThen(event === "a" ? Effect.void : Deferred.await(gate), Effect.sync(() => handled.push(event)))
          )
      }))
      const first = yield* nextOf("RD")
      first.peer.sendUnsafe(["HB"])
      first.peer.sendUnsafe(["TR", `{"a":{}}`, "a", "1"])
      assert.deepStrictEqual((yield* nextOf("AK")).frames, ["AK", "a"])
      first.peer.sendUnsafe(["QT"])
      yield* eventually(worker.state, ({ _tag }) => _tag === "Disconnected")
      yield* TestClock.adjust("1 second")
      const { peer } = yield* nextOf("RD")
      for (const event of ["b", "c"]) peer.sendUnsafe(["TR", `{"${event}":{}}`])
      assert.deepStrictEqual([yield* Queue.take(started), yield* Queue.take(started)], ["a", "b"])
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["a", "b", "c"])
    }))
})
