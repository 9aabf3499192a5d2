import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Queue, Schema } from "effect"
import { Client, Event, EventGroup, EventRouter, Kosmonaut } from "../../../src/index.ts"
import * as BrokerMetrics from "../../../src/server/BrokerMetrics.ts"
import { Broker, type BrokerConfig } from "../../../src/server/index.ts"
import { eventually } from "../../harness/eventually.ts"
import { describeWithRedis, type RedisServer, start } from "../../harness/redisServer.ts"
import { token } from "../../harness/TestBroker.ts"

const options: BrokerConfig.Options = {
  websocketPort: 0,
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/test", token }]
}

class Numbers extends EventGroup.make(
  "numbers",
  Event.make("told", { payload: { n: Schema.Int } }),
  Event.make("asked", { payload: { n: Schema.Int }, success: Schema.Int })
) {}

const { asked, told } = Numbers.events

/** A node of the cluster that has this Redis, until the scope ends. */
const nodeOf = ({ url }: RedisServer) =>
  Effect.map(
    Layer.build(Layer.fresh(Broker.layer({ ...options, redis: { url } }))),
    (context) => `wr://${token}@127.0.0.1:${Context.get(context, Broker.Broker).backendPort}/test`
  )

describeWithRedis("Events and requests of a cluster", () => {
  it.live("go to the worker of any node, once, and responses come back", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, two] = [yield* nodeOf(server), yield* nodeOf(server)]
      const events = yield* Queue.unbounded<number>()
      yield* Layer.build(
        EventRouter.layer(Numbers).pipe(
          Layer.provide(
            Numbers.toLayer({
              told: ({ n }) => Effect.asVoid(Queue.offer(events, n)),
              asked: ({ n }) => Effect.succeed(n)
            })
          ),
          Layer.provide(Layer.fresh(Kosmonaut.layer({ url: two })))
        )
      )
      const client = Context.get(yield* Layer.build(Layer.fresh(Kosmonaut.layer({ url: one }))), Client.Client)
      const ask = (n: number) => client.request(asked, { n })
      yield* eventually(Effect.exit(ask(0)), Exit.isSuccess)
      const numbers = Array.from({ length: 50 }, (_, n) => n)
      yield* Effect.forEach(numbers, (n) => client.trigger(told, { n }), { concurrency: 8 })
      const received = yield* Queue.takeN(events, numbers.length)
      expect(received.toSorted((a, b) => a - b)).toEqual(numbers)
      expect(yield* Effect.forEach(numbers, ask, { concurrency: 8 })).toEqual(numbers)
      expect(yield* Queue.size(events)).toBe(0)
    }), 60_000)

  it.live("are measured from the trigger at one node to the ack at another", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const registries = [new Map(), new Map()] as const
      const alone = (node: 0 | 1) => Effect.provideService(Metric.MetricRegistry, registries[node])
      const [one, two] = [
        yield* alone(0)(nodeOf(server)),
        yield* alone(1)(nodeOf(server))
      ]
      const lagOf = (node: 0 | 1, lane: "events" | "requests") =>
        alone(node)(Metric.value(BrokerMetrics.eventLag(lane)))
      const client = Context.get(yield* Layer.build(Layer.fresh(Kosmonaut.layer({ url: one }))), Client.Client)
      const begun = performance.now()
      yield* Effect.forEach([1, 2, 3], (n) => client.trigger(told, { n }))
      yield* client.trigger(told, { n: 4 }, { delay: "1 second" })
      const waited = performance.now()
      yield* eventually(Effect.sync(() => performance.now() - waited), (passed) => passed > 300)
      yield* Layer.build(
        EventRouter.layer(Numbers).pipe(
          Layer.provide(Numbers.toLayer({ told: () => Effect.void, asked: ({ n }) => Effect.succeed(n) })),
          Layer.provide(Layer.fresh(Kosmonaut.layer({ url: two })))
        )
      )
      const { max, min, sum } = yield* eventually(lagOf(1, "events"), ({ count }) => count === 4)
      const passed = (performance.now() - begun) / 1000
      // The delayed one from the end of its delay; each clock is wrong by some milliseconds.
      expect(min).toBeLessThan(passed - 0.9)
      expect(max).toBeGreaterThan(0.28)
      expect(sum).toBeGreaterThan(3 * 0.28)
      expect(sum).toBeLessThan(3 * passed + 0.1)
      expect(yield* eventually(Effect.exit(client.request(asked, { n: 5 })), Exit.isSuccess)).toEqual(Exit.succeed(5))
      expect(yield* eventually(lagOf(1, "requests"), ({ count }) => count > 0)).toMatchObject({ count: 1 })
      expect([(yield* lagOf(0, "events")).count, (yield* lagOf(0, "requests")).count]).toEqual([0, 0])
    }), 60_000)
})
