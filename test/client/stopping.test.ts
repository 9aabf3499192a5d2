/**
 * How a worker ends: whatever its handlers, its broker and its transport do, it says goodbye, ends in time, and nobody waits
 * for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Logger, Metric, Queue, Schedule, Stream, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { ConnectionState, Transport, Worker } from "../../src/index.ts"
import { MemoryNetwork, TestBroker } from "../../src/testing/index.ts"
import * as AdjustableClock from "../harness/AdjustableClock.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeNetwork from "../harness/fakeNetwork.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"

const logger = () => {
  const logged: Array<string> = []
  return { logged, layer: Logger.layer([Logger.make(({ message }) => logged.push(String(message)))]) }
}

const defectOf = <A, E>(exit: Exit.Exit<A, E>): string =>
  Exit.isFailure(exit) && Cause.hasDies(exit.cause) ? Cause.pretty(exit.cause) : "no defect"

describe("a handler that cannot be interrupted", () => {
  it.effect("delays nothing: its event is released, QT sent and the rest logged before", () => {
    const { layer, logged } = logger()
    return Effect.gen(function*() {
      const { next, nextOf, worker } = yield* FakeNetwork.make({
        drainTimeout: "10 seconds",
        silenceTimeout: "1 hour"
      })
      const started = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: () =>
          Effect.uninterruptible(Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate)))
      }))
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["TR", `{"e":{}}`, "a", "1"])
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      assert.deepStrictEqual((yield* nextOf("RD")).frames?.slice(0, 3), ["RD", "ack", "0"])
      const others: Array<ReadonlyArray<string> | undefined> = []
      const hearing = yield* Effect.forkScoped(
        Effect.forever(Effect.map(next, ({ frames }) => frames?.[0] === "HB" || others.push(frames)))
      )
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(others, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(others, [["NK", "a", ""], ["QT"]])
      assert.include(logged[0], "Stopped after 10s: interrupting 1 that were being handled")
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(stopping)
      assert.include(logged[1], "1 handlers cannot be interrupted and go on")
      // What becomes of it is not reported any more.
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(others.length, 2)
      yield* Fiber.interrupt(hearing)
    }).pipe(Effect.provide(layer))
  })

  it.effect("may be one of many", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* FakeNetwork.make({ drainTimeout: "1 second", concurrency: 3 })
      const interrupted = yield* Queue.unbounded<string>()
      const started = yield* Queue.unbounded<string>()
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) =>
          Effect.andThen(
            Queue.offer(started, event),
            event === "b"
              ? Effect.uninterruptible(Effect.never)
              : Effect.onInterrupt(Effect.never, () => Queue.offer(interrupted, event))
          )
      }))
      const { peer } = yield* nextOf("RD")
      for (const id of ["a", "b", "c"]) peer.sendUnsafe(["TR", `{"${id}":{}}`, id, "1"])
      yield* Queue.takeN(started, 3)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("1500 millis")
      yield* Fiber.join(stopping)
      assert.sameMembers(yield* Queue.takeN(interrupted, 2), ["a", "c"])
    }))
})

describe("a broker that does not answer QT, as the original", () => {
  it.effect("is not awaited if nothing is in flight", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* FakeNetwork.make({ drainTimeout: "1 hour" }, { answersQuit: false })
      const listening = yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["HB"])
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* nextOf("QT")
      yield* TestClock.adjust("249 millis")
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopping)
    }))

  it.effect("has its events in flight handled, and those that arrive after them", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* FakeNetwork.make({ drainTimeout: "1 hour" }, { answersQuit: false })
      const gate = yield* Deferred.make<void>()
      const handled: Array<string> = []
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) => Effect.andThen(Deferred.await(gate), Effect.sync(() => handled.push(event)))
      }))
      const { peer } = yield* nextOf("RD")
      peer.sendUnsafe(["TR", `{"a":{}}`])
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* nextOf("QT")
      peer.sendUnsafe(["TR", `{"b":{}}`])
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(stopping.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("250 millis")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["a", "b"])
    }))
})

describe("a defect", () => {
  const throwing = Schedule.forever.pipe(Schedule.tap(() => Effect.die(new Error("a broken schedule"))))

  it.effect("of the reconnect schedule ends listen and messages with it", () =>
    Effect.gen(function*() {
      const { network, worker } = yield* FakeNetwork.make({ reconnect: throwing })
      yield* network.cut
      assert.include(defectOf(yield* Effect.exit(worker.listen({ onMessage: () => Effect.void }))), "a broken schedule")
      assert.include(defectOf(yield* Effect.exit(Stream.runDrain(worker.messages()))), "a broken schedule")
      assert.strictEqual((yield* worker.state)._tag, "Idle")
    }))

  it.effect.each(["connect", "pull", "send"] as const)(
    "of the transport (%s) ends listen and messages with it",
    (where) =>
      Effect.gen(function*() {
        const { network, nextOf, url } = yield* FakeNetwork.make()
        const broken = Effect.die(new Error("a broken transport"))
        const transport = network.transport()
        const worker = yield* Effect.provideService(
          Worker.make({ url }),
          Transport.Transport,
          where === "connect" ? FakeTransport.make(() => broken) : FakeTransport.mapConnections(
            transport,
            (connection) => ({
              ...connection,
              ...where === "pull" && { pull: broken },
              sendUnsafe: (messages, settled) =>
                messages[0].frames[0] === "HB"
                  ? JSON.parse("a broken transport")
                  : connection.sendUnsafe(messages, settled)
            })
          )
        )
        const listening = yield* Effect.forkChild(Effect.exit(worker.listen({ onMessage: () => Effect.void })))
        if (where === "send") {
          yield* nextOf("RD")
          yield* TestClock.adjust("500 millis")
        }
        assert.include(defectOf(yield* Fiber.join(listening)), "a broken transport")
        const streaming = yield* Effect.forkChild(Effect.exit(Stream.runDrain(worker.messages())))
        if (where === "send") {
          yield* nextOf("RD")
          yield* TestClock.adjust("500 millis")
        }
        assert.include(defectOf(yield* Fiber.join(streaming)), "a broken transport")
      })
  )
})

describe("two listenings of one Worker", () => {
  it.effect("are two connections, each with a state of its own", () =>
    Effect.gen(function*() {
      const worker = yield* Worker.Worker
      const { vhost } = yield* testBroker
      const handled = yield* Queue.unbounded<string>()
      const states = { listen: yield* ConnectionState.make, messages: yield* ConnectionState.make }
      const connected = (state: typeof states.listen) =>
        Stream.runDrain(Stream.takeUntil(SubscriptionRef.changes(state), ({ _tag }) => _tag === "Connected"))
      const listening = yield* Effect.forkScoped(worker.listen({
        onMessage: ({ event }) => Queue.offer(handled, `listen ${event}`),
        state: states.listen
      }))
      yield* connected(states.listen)
      assert.strictEqual(SubscriptionRef.getUnsafe(states.messages)._tag, "Idle")
      const streaming = yield* Effect.forkScoped(Stream.runForEach(
        worker.messages({ state: states.messages }),
        ({ ack, event }) => Effect.andThen(Queue.offer(handled, `messages ${event}`), ack)
      ))
      yield* connected(states.messages)
      assert.strictEqual((yield* worker.state)._tag, "Connected")
      yield* vhost.lobby.enqueue(`{"a":{}}`)
      yield* vhost.lobby.enqueue(`{"b":{}}`)
      const both = [yield* Queue.take(handled), yield* Queue.take(handled)]
      assert.sameMembers(both.map((text) => text.split(" ")[0]), ["listen", "messages"])

      yield* Fiber.interrupt(listening)
      assert.deepStrictEqual(
        [states.listen, states.messages].map((state) => SubscriptionRef.getUnsafe(state)._tag),
        ["Idle", "Connected"]
      )
      yield* vhost.lobby.enqueue(`{"c":{}}`)
      assert.strictEqual(yield* Queue.take(handled), "messages c")
      yield* Fiber.interrupt(streaming)
      assert.strictEqual((yield* worker.state)._tag, "Idle")
    }).pipe(Effect.provide(TestBroker.layerBackend())))

  it.effect("are together as the worst of them is", () =>
    Effect.gen(function*() {
      const { nextOf, worker } = yield* FakeNetwork.make()
      const seen: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(worker.changes, ({ _tag }) => Effect.sync(() => seen.push(_tag))),
        { startImmediately: true }
      )
      const until = (state: string) => eventually(Effect.sync(() => seen.at(-1)), (last) => last === state)
      const listen = Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
      yield* until("Idle")
      yield* listen
      const { peer: first } = yield* nextOf("RD")
      yield* until("Connecting")
      first.sendUnsafe(["HB"])
      yield* until("Connected")
      yield* listen
      const { peer: second } = yield* nextOf("RD")
      yield* until("Connecting")
      second.sendUnsafe(["HB"])
      yield* until("Connected")
      yield* first.close
      yield* until("Disconnected")
      assert.strictEqual((yield* worker.state)._tag, "Disconnected")
    }))
})

describe("two Workers of one vhost in one process", () => {
  it.effect("count their queued events together, and not those of one that has stopped", () =>
    Effect.gen(function*() {
      const { url, vhost } = yield* testBroker
      const network = yield* MemoryNetwork.MemoryNetwork
      const waiting = Effect.map(
        Metric.snapshot,
        (all) => (all.find(({ id }) => id === "kosmonaut_worker_inbox_events")?.state as { value?: number })?.value
      )
      const listening = yield* Effect.forEach([1, 2], () =>
        Effect.gen(function*() {
          const worker = yield* Effect.provideService(
            Worker.make({ url, drainTimeout: 0 }),
            Transport.Transport,
            network.transport()
          )
          return yield* worker.listen({ onMessage: () => Effect.never })
        }).pipe(Effect.scoped, Effect.forkScoped))
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 2)
      for (let n = 0; n < 6; n++) yield* vhost.lobby.enqueue(`{"e":{}}`)
      yield* eventually(waiting, (value) => value === 4)
      yield* Fiber.interrupt(listening[1]!).pipe(Effect.forkScoped)
      yield* TestClock.adjust("2 seconds")
      yield* eventually(waiting, (value) => value === 5)
      yield* Fiber.interrupt(listening[0]!).pipe(Effect.forkScoped)
      yield* TestClock.adjust("2 seconds")
      yield* eventually(waiting, (value) => value === 0)
    }).pipe(
      Effect.provide(TestBroker.layerBackend()),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))
})

describe("time", () => {
  it.effect("in which the process stood still does not count as the broker's silence", () =>
    Effect.gen(function*() {
      const { provide, standStill } = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const { nextOf, worker } = yield* FakeNetwork.make()
        yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
        const { peer } = yield* nextOf("RD")
        peer.sendUnsafe(["HB"])
        yield* TestClock.adjust("1900 millis")
        standStill(4000)
        yield* TestClock.adjust("150 millis")
        assert.strictEqual((yield* worker.state)._tag, "Connected")
        // What had arrived meanwhile.
        peer.sendUnsafe(["HB"])
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* worker.state)._tag, "Connected")
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* worker.state)._tag, "Disconnected")
      }).pipe(provide)
    }))

  it.effect("in which the broker is silent counts even if the wall clock is set back an hour", () =>
    Effect.gen(function*() {
      const { provide, setBack } = yield* AdjustableClock.make
      yield* Effect.gen(function*() {
        const { nextOf, worker } = yield* FakeNetwork.make()
        yield* Effect.forkScoped(worker.listen({ onMessage: () => Effect.void }))
        const { peer } = yield* nextOf("RD")
        peer.sendUnsafe(["HB"])
        yield* TestClock.adjust("1 second")
        setBack(3_600_000)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* worker.state)._tag, "Disconnected")
      }).pipe(provide)
    }))
})
