/**
 * What a worker does with an event that is redelivered because its connection was lost, over the network in memory, by the
 * test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Deliveries from "../../src/client/internal/deliveries.ts"
import { Worker } from "../../src/index.ts"
import { FromClient } from "../../src/protocol/Command.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import { acknowledged, another, gated, trigger, within } from "../harness/gatedWorker.ts"

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
