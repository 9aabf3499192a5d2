/**
 * A worker at a broker in memory, whose handlers wait until a test lets them go.
 */
import { Deferred, Effect, Queue } from "effect"
import { type Message, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import { testBroker } from "./engine.ts"
import { eventually } from "./eventually.ts"

type WorkerOptions = TestBroker.BackendOptions["worker"]

/** A broker in memory, and a worker with these options. */
export const within = (options?: WorkerOptions) =>
  Effect.provide(TestBroker.layerBackend({ heartbeat: { interval: "500 millis" }, worker: options }))

/** Puts events into the vhost, as an authenticated browser would. */
export const trigger = (...events: ReadonlyArray<string>) =>
  Effect.flatMap(
    testBroker,
    ({ vhost }) =>
      Effect.forEach(events, (event) => vhost.lobby.enqueue(JSON.stringify({ [event]: {} })), { discard: true })
  )

/** Another worker of the same vhost. */
export const another = (options?: WorkerOptions) =>
  TestBroker.TestBroker.use(({ url }) => Worker.make({ url, ...options }))

/** What the broker has counted. */
export const counters = Effect.flatMap(testBroker, ({ vhost }) => Effect.succeed(vhost.lobby.counters))

/** Waits until so many were acknowledged. */
export const acknowledged = (count: number) =>
  Effect.flatMap(counters, (counters) => eventually(Effect.sync(() => counters.acknowledged), (seen) => seen === count))

/** Handlers that wait at a gate of their own: what they have begun, and what they have handled. */
export const gated = Effect.gen(function*() {
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
