/** A worker that stops finishes what is running and releases the rest, over the network in memory, by the test's clock. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Worker } from "../../src/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { acknowledged, another, gated, trigger, within } from "../harness/gatedWorker.ts"

describe("a worker that stops", () => {
  it.effect("after a handler's failure finishes what is running, and begins nothing else", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { handled, next, onMessage } = yield* gated
      const listening = yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: (message) => message.event === "bad" ? Effect.fail("no luck" as const) : onMessage(message)
      }))
      yield* trigger("slow", "bad", "c", "d")
      const { open } = yield* next
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 2)
      assert.strictEqual(vhost.deadLetters.counters.count, 1)
      assert.isUndefined(listening.pollUnsafe())
      yield* open
      assert.deepStrictEqual(yield* Fiber.await(listening), Exit.fail("no luck" as const))
      assert.deepStrictEqual(handled, ["slow 1"])
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 1, unacknowledged: 0, queued: 2, workers: 0 })
    }).pipe(within({ concurrency: 2 })))

  it.effect("begins nothing new, and the rest is redelivered at once while it finishes what is running", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const mine = yield* gated
      const others = yield* Queue.unbounded<string>()
      const listening = yield* mine.listen(yield* Worker.Worker)
      yield* trigger("a", "b", "c", "d")
      const a = yield* mine.next
      const b = yield* mine.next
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* Effect.forkScoped(
        (yield* another()).listen({ onMessage: ({ event, attempt }) => Queue.offer(others, `${event} ${attempt}`) })
      )
      assert.deepStrictEqual([yield* Queue.take(others), yield* Queue.take(others)], ["c 2", "d 2"])
      yield* trigger("later")
      assert.strictEqual(yield* Queue.take(others), "later 1")
      yield* a.open
      yield* acknowledged(4)
      // Its heartbeats go on: it is not taken for dead, and what it has in hand is nobody else's.
      yield* TestClock.adjust("50 seconds")
      assert.isUndefined(stopping.pollUnsafe())
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 1, redelivered: 2, workers: 2 })
      yield* b.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(mine.handled, ["a 1", "b 1"])
      assert.strictEqual(yield* Queue.size(mine.started), 0)
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 5, unacknowledged: 0, redelivered: 2, workers: 1 })
    }).pipe(within({ concurrency: 2, drainTimeout: "1 minute" })))

  it.effect("begins nothing that had no room in its inbox, either", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { handled, listen, next, started } = yield* gated
      const listening = yield* listen(yield* Worker.Worker)
      yield* trigger("a", "b", "c", "d", "e")
      const { open } = yield* next
      yield* TestClock.adjust("1 second")
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting > 0)
      yield* open
      yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(started), ({ open }) => open)))
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["a 1"])
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 1, unacknowledged: 0, queued: 4 })
    }).pipe(within({ bufferSize: 1 })))

  it.effect("releases what it cannot finish within drainTimeout", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { listen, next } = yield* gated
      const listening = yield* listen(yield* Worker.Worker)
      yield* trigger("endless")
      yield* next
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* TestClock.adjust("9999 millis")
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 1, queued: 0, workers: 1 })
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(stopping)
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 1)
      yield* listen(yield* another())
      assert.deepInclude(yield* next, { event: "endless", attempt: 2 })
      assert.strictEqual(vhost.deadLetters.counters.count, 0)
    }).pipe(within({ drainTimeout: "10 seconds" })))

  it.effect("releases at once what it was to release later", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { next, onMessage } = yield* gated
      const listening = yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: (message) =>
          Effect.andThen(onMessage(message), message.event === "good" ? Effect.void : Effect.interrupt)
      }))
      yield* trigger("before", "after", "good")
      const before = yield* next
      const after = yield* next
      const good = yield* next
      yield* before.open
      yield* TestClock.adjust("1 second")
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 3, queued: 0 })
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 1)
      yield* after.open
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 2)
      assert.isUndefined(stopping.pollUnsafe())
      yield* good.open
      yield* Fiber.join(stopping)
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 1, unacknowledged: 0, redelivered: 2 })
    }).pipe(within({ concurrency: 3, heartbeatInterval: "1 hour", silenceTimeout: "1 hour" })))

  it.effect("releases, as a stream, what the consumer has not acked, and what it has not begun", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const worker = yield* Worker.Worker
      yield* trigger("a", "b", "c", "d", "e")
      const { next, onMessage } = yield* gated
      const streaming = yield* worker.messages().pipe(
        Stream.take(3),
        Stream.runForEach((message) =>
          Effect.andThen(onMessage(message), message.event === "b" ? Effect.void : message.ack)
        ),
        Effect.forkScoped
      )
      const first = yield* next
      yield* TestClock.adjust("1 second")
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 0, unacknowledged: 5 })
      yield* first.open
      for (const _ of ["b", "c"]) yield* Effect.flatMap(next, ({ open }) => open)
      yield* Fiber.join(streaming)
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 0)
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 2, unacknowledged: 0, queued: 3 })
      assert.strictEqual(vhost.deadLetters.counters.count, 0)
      const again = yield* worker.messages().pipe(Stream.take(3), Stream.runCollect)
      assert.deepStrictEqual(again.map(({ event }) => event).sort(), ["b", "d", "e"])
      assert.deepInclude(again.find(({ event }) => event === "b"), { attempt: 2 })
    }).pipe(within()))
})
