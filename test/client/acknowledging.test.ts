/**
 * An event is the broker's until a worker has acknowledged it: what a worker and the broker's engine do together, over
 * the network in memory, by the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Metric, Queue, References, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ClientMetrics from "../../src/client/ClientMetrics.ts"
import * as Deliveries from "../../src/client/internal/deliveries.ts"
import { type Message, Transport, Worker } from "../../src/index.ts"
import { FromClient } from "../../src/protocol/Command.ts"
import { MemoryNetwork, TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"

type WorkerOptions = TestBroker.BackendOptions["worker"]

const within = (options?: WorkerOptions) =>
  Effect.provide(TestBroker.layerBackend({ heartbeat: { interval: "500 millis" }, worker: options }))

/** Puts events into the vhost, as an authenticated browser would. */
const trigger = (...events: ReadonlyArray<string>) =>
  Effect.flatMap(
    testBroker,
    ({ vhost }) =>
      Effect.forEach(events, (event) => vhost.lobby.enqueue(JSON.stringify({ [event]: {} })), { discard: true })
  )

/** Another worker of the same vhost. */
const another = (options?: WorkerOptions) => TestBroker.TestBroker.use(({ url }) => Worker.make({ url, ...options }))

const counters = Effect.flatMap(testBroker, ({ vhost }) => Effect.succeed(vhost.lobby.counters))

/** Waits until so many were acknowledged. */
const acknowledged = (count: number) =>
  Effect.flatMap(counters, (counters) => eventually(Effect.sync(() => counters.acknowledged), (seen) => seen === count))

/** Handlers that wait at a gate of their own: what they have begun, and what they have handled. */
const gated = Effect.gen(function*() {
  const started = yield* Queue.unbounded<Message.Message & { readonly open: Effect.Effect<unknown> }>()
  const all = yield* Deferred.make<void>()
  const handled: Array<string> = []
  const onMessage = Effect.fnUntraced(function*(message: Message.Message) {
    const gate = yield* Deferred.make<void>()
    yield* Queue.offer(started, { ...message, open: Deferred.succeed(gate, undefined) })
    yield* Effect.raceFirst(Deferred.await(gate), Deferred.await(all))
    handled.push(`${message.event} ${message.attempt}`)
  })
  /** Listens; at the end of the test nobody waits any more, and so the worker does not wait for them. */
  const listen = Effect.fnUntraced(function*(worker: Worker.Worker["Service"]) {
    const listening = yield* Effect.forkScoped(worker.listen({ onMessage }))
    yield* Effect.addFinalizer(() => Deferred.succeed(all, undefined))
    return listening
  })
  return { handled, listen, onMessage, next: Queue.take(started), started }
})

describe("an event", () => {
  it.effect("is acked when its handler has ended, and not before", () =>
    Effect.gen(function*() {
      const { listen, next } = yield* gated
      const counted = yield* counters
      yield* listen(yield* Worker.Worker)
      yield* trigger("a")
      const { open } = yield* next
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(counted, { acknowledged: 0, unacknowledged: 1, redelivered: 0 })
      yield* open
      yield* acknowledged(1)
      assert.deepInclude(counted, { unacknowledged: 0, redelivered: 0, queued: 0 })
    }).pipe(within()))

  it.effect("annotates what its handler logs with its name", () =>
    Effect.gen(function*() {
      const annotations = yield* Queue.unbounded<unknown>()
      const onMessage = () => Effect.flatMap(References.CurrentLogAnnotations, (all) => Queue.offer(annotations, all))
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(Effect.annotateLogs(worker.listen({ onMessage }), "service", "chat"))
      yield* trigger("a", "a", "b", "a")
      for (const event of ["a", "a", "b", "a"]) {
        assert.deepStrictEqual(yield* Queue.take(annotations), { service: "chat", "kosmonaut.event": event })
      }
    }).pipe(within()))

  it.effect("is queued at the broker beyond the worker's prefetch", () =>
    Effect.gen(function*() {
      const { listen, next } = yield* gated
      const counted = yield* counters
      yield* listen(yield* Worker.Worker)
      yield* trigger("a", "b", "c", "d", "e")
      const { open } = yield* next
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(counted, { unacknowledged: 3, queued: 2 })
      yield* open
      yield* eventually(Effect.sync(() => counted.queued), (waiting) => waiting === 1)
      assert.deepInclude(counted, { acknowledged: 1, unacknowledged: 3 })
    }).pipe(within({ prefetch: 3 })))

  it.effect("raises the prefetch of a fast worker, and lowers that of a slow one", () =>
    Effect.gen(function*() {
      const gate = yield* Queue.unbounded<void>()
      const counted = yield* counters
      let handled = 0
      const worker = yield* Worker.Worker
      yield* Effect.forkScoped(
        worker.listen({ onMessage: () => Effect.suspend(() => handled++ < 512 ? Effect.void : Queue.take(gate)) })
      )
      yield* trigger(...Array.from({ length: 1200 }, () => "a"))
      yield* eventually(Effect.sync(() => counted.unacknowledged), (count) => count === 256)
      assert.deepInclude(counted, { acknowledged: 512, queued: 1200 - 512 - 256 })
      // It has handled enough for the first heartbeat, and nothing for the second.
      yield* TestClock.adjust("500 millis")
      yield* Queue.offer(gate, undefined)
      yield* acknowledged(513)
      yield* eventually(Effect.sync(() => counted.unacknowledged), (count) => count === 256)
      yield* TestClock.adjust("500 millis")
      yield* Queue.offer(gate, undefined)
      yield* acknowledged(514)
      assert.deepInclude(counted, { unacknowledged: 255, queued: 1200 - 513 - 256 })
      yield* Queue.offerAll(gate, Array.from({ length: 1200 }))
      yield* acknowledged(1200)
    }).pipe(within()))

  it.effect.each([undefined, 1, 3])(
    "is a dead letter when its handler has failed %s times",
    (maxAttempts) =>
      Effect.gen(function*() {
        const { vhost } = yield* testBroker
        const heard = yield* Queue.unbounded<Cause.Cause<string>>()
        const seen: Array<Message.Message> = []
        yield* Effect.forkScoped((yield* Worker.Worker).listen({
          onMessage: (message) =>
            Effect.suspend(() => {
              seen.push(message)
              return Effect.fail("no luck")
            }),
          onException: (cause) => Queue.offer(heard, cause)
        }))
        yield* trigger("a")
        const times = maxAttempts ?? 1
        for (let n = 1; n <= times; n++) {
          assert.deepStrictEqual(yield* Queue.take(heard), Cause.fail("no luck"))
          if (n === times) break
          yield* eventually(Effect.sync(() => vhost.lobby.counters.redelivered), (redelivered) => redelivered === n)
          yield* TestClock.adjust("1 second")
        }
        const [letter] = yield* eventually(vhost.deadLetters.list, ({ length }) => length === 1)
        yield* TestClock.adjust("1 minute")
        assert.deepInclude(letter, { json: `{"a":{}}`, attempts: times, reason: "no luck" })
        assert.deepStrictEqual(seen.map(({ attempt }) => attempt), Array.from({ length: times }, (_, n) => n + 1))
        assert.deepStrictEqual([...new Set(seen.map(({ id }) => id))], [letter!.id])
        assert.deepInclude(vhost.lobby.counters, { acknowledged: 0, unacknowledged: 0, queued: 0 })
      }).pipe(within({ maxAttempts }))
  )

  it.effect.each(
    [
      [Effect.fail("no luck\n\ttoday"), "no luck today"],
      [Effect.fail(""), "it failed"],
      [Effect.fail({ _tag: "NoLuck", n: 7 }), `{"_tag":"NoLuck","n":7}`],
      [Effect.fail(Object.create(null)), "{}"],
      [Effect.fail(undefined), "undefined"],
      [Effect.die(new RangeError("too\nfar")), "RangeError: too far"],
      [Effect.fail("x".repeat(499) + "🚀"), "x".repeat(499) + "\ufffd"]
    ] as const
  )("is a dead letter with the reason, whatever that was: %#", ([failure, reason]) =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* Effect.forkScoped(
        (yield* Worker.Worker).listen({ onMessage: () => failure, onException: () => Effect.void })
      )
      yield* trigger("a")
      const [letter] = yield* eventually(vhost.deadLetters.list, ({ length }) => length === 1)
      assert.strictEqual(letter!.reason, reason)
    }).pipe(within()))

  it.effect("is retried in the worker first, which is one delivery", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const causes: Array<unknown> = []
      const runs: Array<string> = []
      const retriesBefore = (yield* Metric.value(ClientMetrics.retries)).count
      yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: ({ event, attempt }) =>
          Effect.suspend(() => {
            runs.push(`${event} ${attempt}`)
            return event === "bad" || runs.length < 3 ? Effect.fail("no luck") : Effect.void
          }),
        retry: Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(3)]),
        onException: (cause) => Effect.sync(() => causes.push(cause))
      }))
      yield* trigger("good")
      yield* eventually(Effect.sync(() => runs.length), (length) => length === 1)
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(runs.length, 2)
      yield* TestClock.adjust("1 millis")
      yield* acknowledged(1)
      assert.deepStrictEqual(runs.splice(0), ["good 1", "good 1", "good 1"])
      assert.deepStrictEqual(causes, [])
      yield* trigger("bad")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(runs, ["bad 1", "bad 1", "bad 1", "bad 1"])
      assert.deepStrictEqual(causes, [Cause.fail("no luck")])
      assert.deepInclude(vhost.lobby.counters, { delivered: 2, acknowledged: 1, redelivered: 0, unacknowledged: 0 })
      assert.strictEqual(vhost.deadLetters.counters.count, 1)
      assert.strictEqual((yield* Metric.value(ClientMetrics.retries)).count - retriesBefore, 5)
    }).pipe(within()))

  it.effect("is released at the next heartbeat if its handler interrupts itself, which is not a failure", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const seen = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: ({ event, attempt }) =>
          Effect.andThen(Queue.offer(seen, `${event} ${attempt}`), attempt < 3 ? Effect.interrupt : Effect.void)
      }))
      yield* trigger("a")
      assert.strictEqual(yield* Queue.take(seen), "a 1")
      // It goes on meanwhile, with what it may have besides.
      yield* trigger("b", "c")
      assert.strictEqual(yield* Queue.take(seen), "b 1")
      yield* TestClock.adjust("399 millis")
      assert.strictEqual(yield* Queue.size(seen), 0)
      assert.deepInclude(vhost.lobby.counters, { redelivered: 0, unacknowledged: 2, queued: 1 })
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Queue.takeN(seen, 2), ["a 2", "b 2"])
      yield* TestClock.adjust("400 millis")
      // From the second time on it waits, and others pass it.
      assert.deepStrictEqual(yield* Queue.take(seen), "c 1")
      yield* TestClock.adjust("199 millis")
      assert.strictEqual(yield* Queue.size(seen), 0)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Queue.takeN(seen, 2), ["a 3", "b 3"])
      yield* TestClock.adjust("2 seconds")
      yield* acknowledged(3)
      assert.strictEqual(vhost.deadLetters.counters.count, 0)
    }).pipe(within({ heartbeatInterval: "400 millis", prefetch: 2 })))
})

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

describe("a consumer of messages", () => {
  /** What a stream gives, one queue entry for each. */
  const consuming = Effect.gen(function*() {
    const deliveries = yield* Queue.unbounded<Worker.Delivery>()
    const { messages } = yield* Worker.Worker
    const consumer = yield* Effect.forkScoped(Stream.runForEach(messages(), (_) => Queue.offer(deliveries, _)))
    return { consumer, deliveries, next: Queue.take(deliveries) }
  })

  it.effect("acks each event when it wants, in any order, and has up to prefetch unacked ones", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* trigger("a", "b", "c", "d")
      const { deliveries, next } = yield* consuming
      const [a, b] = [yield* next, yield* next]
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Queue.size(deliveries), 0)
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 0, unacknowledged: 2, queued: 2 })
      yield* b.ack
      assert.deepInclude(yield* next, { event: "c", attempt: 1 })
      yield* a.ack
      assert.deepInclude(yield* next, { event: "d", attempt: 1 })
      yield* acknowledged(2)
      assert.strictEqual(vhost.deadLetters.counters.count, 0)
    }).pipe(within({ prefetch: 2 })))

  it.effect("nacks an event with a reason, which is redelivered, and then is a dead letter with it", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* trigger("a")
      const { next } = yield* consuming
      const first = yield* next
      yield* first.nack("no luck")
      yield* eventually(Effect.sync(() => vhost.lobby.counters.unacknowledged), (count) => count === 0)
      assert.strictEqual(vhost.deadLetters.counters.count, 0)
      // After the broker's backoff.
      yield* TestClock.adjust("10 seconds")
      const second = yield* next
      assert.deepInclude(second, { id: first.id, attempt: 2 })
      yield* second.nack("no luck")
      const [letter] = yield* eventually(vhost.deadLetters.list, ({ length }) => length === 1)
      assert.deepInclude(letter, { attempts: 2, reason: "no luck" })
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 0, queued: 0 })
    }).pipe(within({ maxAttempts: 2 })))

  it.effect("settles an event once: the first ack or nack counts, and none after the end of the stream", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      yield* trigger("acked", "nacked", "late")
      const { consumer, next } = yield* consuming
      const [acked, nacked, late] = [yield* next, yield* next, yield* next]
      yield* acked.ack
      yield* acked.nack("too late")
      yield* acked.ack
      yield* nacked.nack("")
      yield* nacked.ack
      yield* acknowledged(1)
      const [letter] = yield* eventually(vhost.deadLetters.list, ({ length }) => length === 1)
      assert.deepInclude(letter, { reason: "it failed" })
      yield* Fiber.interrupt(consumer)
      yield* late.ack
      yield* late.nack("too late")
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 1)
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 1, unacknowledged: 0 })
      assert.strictEqual(vhost.deadLetters.counters.count, 1)
      const { next: again } = yield* consuming
      assert.deepInclude(yield* again, { event: "late", attempt: 2, id: late.id })
    }).pipe(within()))
})

describe("a worker that loses its connection", () => {
  /** Cuts the network, and mends it: at once, or when `meanwhile` is done. */
  const interrupted = Effect.fnUntraced(function*(queued: number, meanwhile: Effect.Effect<unknown> = Effect.void) {
    const { cut, restore, vhost } = yield* testBroker
    yield* cut
    yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (seen) => seen === queued)
    yield* meanwhile
    yield* restore
    yield* TestClock.adjust("1 second")
  })

  it.effect("finishes what is running, and acks it when it has reconnected", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { handled, listen, next, started } = yield* gated
      yield* listen(yield* Worker.Worker)
      yield* trigger("a")
      const { open } = yield* next
      yield* interrupted(1)
      yield* interrupted(1)
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 1, redelivered: 2, queued: 0 })
      yield* open
      yield* acknowledged(1)
      yield* trigger("b")
      yield* Effect.flatMap(next, ({ open }) => open)
      yield* acknowledged(2)
      assert.strictEqual(yield* Queue.size(started), 0)
      assert.deepStrictEqual(handled, ["a 1", "b 1"])
    }).pipe(within({ concurrency: 2, reconnect: Schedule.spaced("1 second") })))

  it.effect("nacks what has failed meanwhile when it has reconnected", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { next, onMessage } = yield* gated
      yield* Effect.forkScoped((yield* Worker.Worker).listen({
        onMessage: (message) => Effect.andThen(onMessage(message), Effect.fail("no luck")),
        onException: () => Effect.void
      }))
      yield* trigger("a")
      const { id, open } = yield* next
      yield* interrupted(1)
      yield* open
      const [letter] = yield* eventually(vhost.deadLetters.list, ({ length }) => length === 1)
      assert.deepInclude(letter, { id: id!, attempts: 2, reason: "no luck" })
    }).pipe(within({ concurrency: 2, maxAttempts: 1, reconnect: Schedule.spaced("1 second") })))

  it.effect("does not handle again what it has finished while it was disconnected", () =>
    Effect.gen(function*() {
      const { vhost } = yield* testBroker
      const { handled, listen, next, started } = yield* gated
      yield* listen(yield* Worker.Worker)
      yield* trigger("a", "b")
      const a = yield* next
      const b = yield* next
      yield* interrupted(
        2,
        Effect.andThen(a.open, eventually(Effect.sync(() => handled), ({ length }) => length === 1))
      )
      yield* acknowledged(1)
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 1, redelivered: 2, queued: 0 })
      yield* b.open
      yield* acknowledged(2)
      assert.strictEqual(yield* Queue.size(started), 0)
      assert.deepStrictEqual(handled, ["a 1", "b 1"])
    }).pipe(within({ concurrency: 2, reconnect: Schedule.spaced("1 second") })))

  it.effect("does not handle again what it has acked if the ack was lost", () =>
    Effect.gen(function*() {
      const { silence, vhost } = yield* testBroker
      const { handled, listen, next } = yield* gated
      yield* listen(yield* Worker.Worker)
      yield* trigger("a", "b", "c")
      const a = yield* next
      yield* silence
      yield* a.open
      yield* Effect.flatMap(next, ({ open }) => open)
      const c = yield* next
      yield* interrupted(3)
      yield* acknowledged(2)
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 1, redelivered: 3, queued: 0 })
      yield* c.open
      yield* acknowledged(3)
      assert.deepStrictEqual(handled, ["a 1", "b 1", "c 1"])
    }).pipe(within({ prefetch: 3, reconnect: Schedule.spaced("1 second") })))

  it("sends nothing more of events that it has released because it stops", () => {
    const sent: Array<unknown> = []
    const way = { sendUnsafe: (command: unknown) => sent.push(command), hasEnded: () => false }
    const deliveries = Deliveries.make(4)
    const [a, b, c] = ["a", "b", "c"].map((id) => deliveries.arrivedUnsafe({ id, attempt: 1 }, way)!)
    for (const delivered of [a, b, c]) delivered!.beginUnsafe()
    deliveries.abandonUnsafe()
    assert.deepStrictEqual(sent, ["a", "b", "c"].map((id) => FromClient.Nack({ delivery: id, reason: "" })))
    a!.acknowledgeUnsafe()
    b!.nackUnsafe("it failed")
    c!.releaseUnsafe()
    assert.strictEqual(sent.length, 3)
  })

  it("remembers no more handled events than acks can be lost", () => {
    const said: Array<unknown> = []
    const way = { sendUnsafe: (command: unknown) => said.push(command), hasEnded: () => false }
    const deliveries = Deliveries.make(2)
    for (const id of ["a", "b", "c"]) deliveries.arrivedUnsafe({ id, attempt: 1 }, way)!.acknowledgeUnsafe()
    const again = ["a", "b", "c"].map((id) => deliveries.arrivedUnsafe({ id, attempt: 2 }, way) !== undefined)
    assert.deepStrictEqual(again, [true, false, false])
    assert.strictEqual(said.length, 5)
  })

  it("sends a lost response again, and keeps no more than 1 MiB of responses for that", () => {
    const sent: Array<FromClient> = []
    const way = { sendUnsafe: (command: FromClient) => void sent.push(command), hasEnded: () => false }
    const deliveries = Deliveries.make(100)
    const arrive = (id: string, attempt = 1) => deliveries.arrivedUnsafe({ id, attempt }, way)
    arrive("a")!.respondUnsafe("ok", `"a"`)
    arrive("b")!.respondUnsafe("error", `"b"`)
    arrive("c")!.acknowledgeUnsafe()
    for (const id of ["a", "b", "c"]) assert.isUndefined(arrive(id, 2))
    const [a, b, c] = [
      FromClient.Respond({ delivery: "a", outcome: "ok", json: `"a"` }),
      FromClient.Respond({ delivery: "b", outcome: "error", json: `"b"` }),
      FromClient.Ack({ deliveries: ["c"] })
    ]
    assert.deepStrictEqual(sent, [a, b, c, a, b, c])
    arrive("d")!.respondUnsafe("ok", JSON.stringify("x".repeat(1_048_570)))
    const known = ["a", "b", "c", "d"].map((id) => arrive(id, 3) === undefined)
    assert.deepStrictEqual(known, [false, true, true, true])
  })

  it.effect("begins nothing that it had received, which is redelivered to others", () =>
    Effect.gen(function*() {
      const { cut, restore, vhost } = yield* testBroker
      const mine = yield* gated
      const others = yield* gated
      yield* mine.listen(yield* Worker.Worker)
      yield* trigger("a", "b", "c")
      const { open } = yield* mine.next
      yield* cut
      yield* eventually(Effect.sync(() => vhost.lobby.counters.queued), (waiting) => waiting === 3)
      yield* restore
      yield* others.listen(yield* another({ concurrency: 3 }))
      const again = [yield* others.next, yield* others.next, yield* others.next]
      assert.deepStrictEqual(again.map(({ attempt, event }) => `${event} ${attempt}`), ["a 2", "b 2", "c 2"])
      yield* open
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(mine.handled, ["a 1"])
      assert.strictEqual(yield* Queue.size(mine.started), 0)
      for (const { open } of again) yield* open
      yield* acknowledged(3)
      assert.deepInclude(vhost.lobby.counters, { redelivered: 3, unacknowledged: 0 })
    }).pipe(within({ reconnect: Schedule.spaced("1 hour") })))

  it.effect("emits, as a stream, nothing more that it had received, until it is redelivered", () =>
    Effect.gen(function*() {
      const { next, onMessage } = yield* gated
      yield* trigger("a", "b", "c")
      yield* (yield* Worker.Worker).messages().pipe(
        Stream.runForEach((message) => Effect.andThen(onMessage(message), message.ack)),
        Effect.forkScoped
      )
      const a = yield* next
      yield* interrupted(3)
      yield* a.open
      for (const name of ["b 2", "c 2"]) {
        const { attempt, event, open } = yield* next
        assert.strictEqual(`${event} ${attempt}`, name)
        yield* open
      }
      yield* acknowledged(3)
    }).pipe(within({ reconnect: Schedule.spaced("1 second") })))

  it.effect("leaves its events to another worker", () =>
    Effect.gen(function*() {
      const { expireWorkers, restore, vhost } = yield* testBroker
      const { handled, listen, next } = yield* gated
      yield* listen(yield* Worker.Worker)
      yield* trigger("a", "b")
      const first = yield* next
      yield* expireWorkers
      assert.deepInclude(vhost.lobby.counters, { unacknowledged: 0, queued: 2, redelivered: 2 })
      yield* restore
      yield* listen(yield* another())
      const again = yield* next
      assert.deepInclude(again, { event: "a", id: first.id, attempt: 2 })
      yield* first.open
      yield* TestClock.adjust("1 second")
      assert.deepInclude(vhost.lobby.counters, { acknowledged: 0, unacknowledged: 2 })
      yield* again.open
      yield* acknowledged(1)
      assert.deepStrictEqual(handled, ["a 1", "a 2"])
    }).pipe(within({ reconnect: Schedule.spaced("1 hour") })))
})

describe("a worker at a broker without acks", () => {
  /** The network of a broker that ignores what follows `RD`, and to whose workers events come as the original sends them. */
  const old = (transport: Transport.Transport["Service"]) =>
    FakeTransport.mapSent(transport, (frames) => {
      assert.notInclude(["AK", "NK"], frames[0])
      return frames[0] === "RD" ? ["RD"] : frames
    })

  /** A worker that does not ack is given events after it. */
  const firstHeartbeat = Effect.flatMap(testBroker, ({ vhost }) =>
    Effect.andThen(
      eventually(vhost.lobby.info, ({ workers }) => workers.length === 1),
      TestClock.adjust("500 millis")
    ))

  it.effect("handles every event once, and everything that it has received before it stops", () =>
    Effect.gen(function*() {
      const { url, vhost } = yield* testBroker
      const network = yield* MemoryNetwork.MemoryNetwork
      const worker = yield* Effect.provideService(
        Worker.make({ url }),
        Transport.Transport,
        old(network.transport())
      )
      const { handled, listen, next } = yield* gated
      const listening = yield* listen(worker)
      yield* firstHeartbeat
      yield* trigger("a", "b")
      const a = yield* next
      assert.strictEqual(a.attempt, 1)
      const stopping = yield* Effect.forkScoped(Fiber.interrupt(listening))
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 0)
      yield* trigger("later")
      yield* a.open
      const b = yield* next
      assert.notStrictEqual(b.id, a.id)
      yield* b.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, ["a 1", "b 1"])
      assert.deepInclude(vhost.lobby.counters, { queued: 1, acknowledged: 0, redelivered: 0, unacknowledged: 0 })
    }).pipe(within()))

  it.effect("handles also what it received on a lost connection", () =>
    Effect.gen(function*() {
      const { cut, url, vhost } = yield* testBroker
      const network = yield* MemoryNetwork.MemoryNetwork
      const worker = yield* Effect.provideService(
        Worker.make({ url, reconnect: Schedule.spaced("1 hour") }),
        Transport.Transport,
        old(network.transport())
      )
      const { listen, next } = yield* gated
      yield* listen(worker)
      yield* firstHeartbeat
      yield* trigger("a", "b")
      const { open } = yield* next
      yield* cut
      yield* eventually(vhost.lobby.info, ({ workers }) => workers.length === 0)
      yield* eventually(worker.state, ({ _tag }) => _tag === "Disconnected")
      yield* open
      assert.deepInclude(yield* next, { event: "b", attempt: 1 })
    }).pipe(within()))
})
