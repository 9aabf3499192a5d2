/** A router lives as long as its layer. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Queue, Redacted, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Client, EventRouter, Kosmonaut, Transport, Worker } from "../../src/index.ts"
import type { MemoryNetwork } from "../../src/testing/index.ts"
import { freePort } from "../chaos/processes.ts"
import { testBroker } from "../harness/engine.ts"
import { eventually } from "../harness/eventually.ts"
import * as FakeBroker from "../harness/FakeBroker.ts"
import * as FakeNetwork from "../harness/fakeNetwork.ts"
import { withMemoryBroker } from "../harness/memoryBroker.ts"
import { Game, logged, recorder, routing, run, trigger, workers } from "../harness/routers.ts"
import { tagOf } from "../harness/tagOf.ts"
import { token } from "../harness/TestBroker.ts"

describe("EventRouter", () => {
  describe("its layer", () => {
    const router = routing(() => Effect.void)
    const quick = { reconnect: Schedule.spaced("10 millis"), drainTimeout: "50 millis" } as const
    const over = <E>(
      { network, url }: { readonly network: MemoryNetwork.MemoryNetwork["Service"]; readonly url: string },
      router: Layer.Layer<never, E, Worker.Worker | Client.Client>
    ) =>
      Layer.build(router.pipe(
        Layer.provide(Layer.mergeAll(Client.layer({ url }), Worker.layer({ url, ...quick }))),
        Layer.provide(Layer.succeed(Transport.Transport, network.transport()))
      ))

    it.effect("is built when the broker has sent its first heartbeat", () =>
      Effect.gen(function*() {
        const broker = yield* FakeNetwork.make()
        const building = yield* Effect.forkScoped(over(broker, router))
        const { peer } = yield* broker.nextOf("RD")
        assert.isUndefined(building.pollUnsafe())
        peer.sendUnsafe(["HB"])
        yield* Fiber.join(building)
      }))

    it.live("is built when there is no broker, and connects when there is one", () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const url = Redacted.make(`wr://${token}@127.0.0.1:${port}/test`)
        const over = (reconnect: Schedule.Schedule<unknown>) =>
          Layer.build(Layer.provide(router, Kosmonaut.layer({ url, worker: { ...quick, reconnect } })))
        yield* over(Schedule.spaced("1 hour"))
        yield* over(quick.reconnect)
        const broker = yield* FakeBroker.make("backend", port)
        yield* broker.nextOf("RD")
      }).pipe(Effect.provide(Logger.layer([]))))

    it.effect("fails if the token is rejected", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { url } = yield* testBroker
        const wrong = Redacted.make(Redacted.value(url).replace(token, "f".repeat(40)))
        const backends = Layer.mergeAll(Client.layer({ url: wrong }), Worker.layer({ url: wrong }))
        const error = yield* Effect.flip(Layer.build(Layer.provide(router, backends)))
        assert.strictEqual(error._tag, "UnauthorizedError")
      })))

    it.effect("logs an error if the token is rejected later", () =>
      Effect.gen(function*() {
        const log = yield* Queue.unbounded<string>()
        const broker = yield* FakeNetwork.make()
        const building = yield* Effect.forkScoped(Effect.provide(over(broker, router), logged(log)))
        const { peer } = yield* broker.nextOf("RD")
        peer.sendUnsafe(["HB"])
        yield* Fiber.join(building)
        peer.sendUnsafe(["ER", "402"])
        assert.match(yield* Queue.take(log), /^Error: The event router has ended: no more events.*Unauthorized/s)
      }))

    it.effect("passes the worker's protocol errors to onError, too", () =>
      Effect.gen(function*() {
        const { next, record } = yield* recorder
        const broker = yield* FakeNetwork.make()
        const layer = routing((x) => record(x), { onError: (error) => record(tagOf(error)) })
        yield* Effect.forkScoped(over(broker, layer))
        const { peer } = yield* broker.nextOf("RD")
        for (const frames of [["HB"], ["ER", "597"], ["TR", "{"], ["TR", `{"game/move":{"x":1}}`]]) {
          peer.sendUnsafe(frames)
        }
        assert.deepStrictEqual([yield* next, yield* next, yield* next], [
          "ProtocolError/InternalError",
          "ProtocolError/MessageDecodeError",
          1
        ])
      }))

    it.effect("finishes what is in flight when it is closed, and releases the rest", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { got, record } = yield* recorder
        const started = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const GameLive = Game.toLayer(Effect.gen(function*() {
          yield* Effect.addFinalizer(() => record("released"))
          return Game.of({
            move: ({ x }) =>
              Deferred.succeed(started, undefined).pipe(
                Effect.andThen(Deferred.await(gate)),
                Effect.andThen(record(x))
              )
          })
        }))
        yield* run(Layer.provide(EventRouter.layer(Game), GameLive)).pipe(Scope.provide(scope))
        for (const x of [1, 2, 3]) yield* trigger("game/move", { x })
        yield* Deferred.await(started)
        const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
        const { vhost } = yield* testBroker
        yield* eventually(vhost.lobby.info, ({ queued }) => queued === 2)
        yield* trigger("game/move", { x: 4 })
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(closing)
        assert.deepStrictEqual(yield* Queue.takeAll(got), [1, "released"])
        yield* workers(0)
        assert.strictEqual((yield* vhost.lobby.info).queued, 3)
      })))

    it.effect("passes no interruption by drainTimeout to onException", () =>
      withMemoryBroker()(Effect.gen(function*() {
        const { got, next, record } = yield* recorder
        const scope = yield* Scope.make()
        const layer = routing(
          () => Effect.onInterrupt(Effect.andThen(record("started"), Effect.never), () => record("interrupted")),
          { onException: () => record("exception") }
        )
        yield* run(layer, { drainTimeout: "50 millis" }).pipe(Scope.provide(scope))
        yield* trigger("game/move", { x: 1 })
        assert.strictEqual(yield* next, "started")
        const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("50 millis")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(yield* Queue.takeAll(got), ["interrupted"])
      })))
  })
})
