import { expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Scope } from "effect"
import { Client, Worker } from "../../../src/index.ts"
import { backend, start as nodeOf, subscriber, told } from "../../harness/clusterNode.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

describeWithRedis("Two brokers with one Redis", () => {
  it.live("deliver a broadcast of a Client at one of them once to the browsers of both, in one order", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const browsers = [yield* subscriber(one, "room"), yield* subscriber(other, "room")]
      const clients = yield* Effect.forEach(
        [one, other],
        (node) => Effect.map(backend(node), (context) => Context.get(context, Client.Client))
      )
      yield* Effect.forEach(
        Array.from({ length: 40 }, (_, number) => number),
        (number) => clients[number % 2]!.broadcast("room", "said", { number }),
        { concurrency: 8 }
      )
      yield* clients[0]!.broadcast("room", "end", {})
      const [here, there] = yield* Effect.forEach(browsers, (browser) =>
        Effect.gen(function*() {
          const numbers: Array<unknown> = []
          for (;;) {
            const message = yield* browser.next
            if ("end" in message) return numbers
            if ("said" in message) numbers.push((message["said"] as { readonly number: number }).number)
          }
        }))
      expect(here).toEqual(there)
      expect((here as Array<number>).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, number) => number)
      )
    }))

  it.live("let the members of a node leave whose lease has ended, and the node starts anew", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const ann = yield* subscriber(one, "presence-room", "ann", other)
      const joe = yield* subscriber(other, "presence-room", "joe", one)
      yield* told(ann, ":memberJoined", "joe")
      yield* other.proxy.stall
      yield* told(ann, ":memberLeft", "joe")
      yield* other.proxy.goOn
      expect(yield* joe.closed).toBe(1001)
      const again = yield* Effect.eventually(Effect.suspend(() => subscriber(other, "presence-room", "joe", one)))
      yield* told(ann, ":memberJoined", "joe")
      yield* again.send({ unsubscribe: { channel: "presence-room" } })
      yield* told(ann, ":memberLeft", "joe")
    }))

  it.live("give an event of a browser at one of them to a worker at the other", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const heard = yield* Deferred.make<unknown>()
      const worker = Context.get(yield* backend(other), Worker.Worker)
      yield* Effect.forkScoped(worker.listen({
        onMessage: ({ data, event }) => Deferred.succeed(heard, [event, data["n"]]),
        onError: () => Effect.void,
        onException: () => Effect.void
      }))
      const browser = yield* subscriber(one, "room", "ann")
      yield* browser.send({ trigger: { event: "ping", data: { n: 1 }, id: "1" } })
      expect(yield* Deferred.await(heard)).toEqual(["ping", 1])
    }))

  it.live("leave nothing of a node behind that ends in order", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* nodeOf(server)
      const scope = yield* Scope.make()
      const other = yield* Scope.provide(nodeOf(server), scope)
      const ann = yield* subscriber(one, "presence-room", "ann")
      yield* Scope.provide(subscriber(other, "presence-room", "joe"), scope)
      yield* told(ann, ":memberJoined", "joe")
      yield* Scope.close(scope, Exit.void)
      yield* told(ann, ":memberLeft", "joe")
    }))
})
