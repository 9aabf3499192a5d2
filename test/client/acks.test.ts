/**
 * An event is the broker's until a worker has acknowledged it: what a worker and the broker's engine do together, over
 * the network in memory, by the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Fiber, Metric, Queue, References, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ClientMetrics from "../../src/client/ClientMetrics.ts"
import { type Message, Worker } from "../../src/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { acknowledged, counters, gated, trigger, within } from "../harness/gatedWorker.ts"

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
