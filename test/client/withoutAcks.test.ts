/** A worker at a broker that knows no acks, over the network in memory, by the test's clock. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Transport, Worker } from "../../src/index.ts"
import { MemoryNetwork } from "../../src/testing/index.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeTransport from "../harness/fakeTransport.ts"
import { gated, trigger, within } from "../harness/gatedWorker.ts"

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
