import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { redisNode } from "../../harness/redisNode.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

// In a file of its own, since those who run beside it would stand still, too.
describeWithRedis("A node that ends", () => {
  it.live("gives its lease up also if the process stands still meanwhile", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* redisNode(server, { lease: 60_000 })
      const scope = yield* Scope.make()
      yield* Scope.provide(redisNode(server, { name: "b", lease: 60_000 }), scope)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      // It stands still.
      const until = performance.now() + 1500
      while (performance.now() < until);
      yield* Fiber.join(closing)
      expect((yield* one.list).map(({ name }) => name)).toEqual(["a"])
    }))
})
