import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import * as Tail from "../../../src/server/admin/internal/tail.ts"
import * as Engine from "../../../src/server/engine/Vhosts.ts"
import { settings } from "../../harness/engine.ts"

it.effect("a reader of a tail that is too slow gets what has waited for it up to the limit, and is told why it ends", () =>
  Effect.gen(function*() {
    const vhost = yield* Engine.Vhosts.use(({ get }) => get("/test"))
    const [begun, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const tail = yield* Tail.ofChannel(vhost, "room")
    const reader = yield* Effect.forkChild(Stream.runCollect(
      Stream.tap(tail, () => Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(goOn)))
    ))
    yield* Deferred.await(begun)
    yield* Effect.forEach(
      Array.from({ length: 50 }),
      (_, n) => vhost.channels.broadcast("room", "said", { n, text: "x".repeat(100_000) }),
      { discard: true }
    )
    yield* Deferred.succeed(goOn, undefined)
    const items = yield* Fiber.join(reader)
    assert.deepEqual(items.at(-1), { _tag: "Ended", reason: "you read too slowly" })
    const messages = items.filter(({ _tag }) => _tag === "Broadcast")
    // 4 MiB, which is about 41 of them, and what its reader had taken before.
    assert.isAtLeast(messages.length, 40)
    assert.isAtMost(messages.length, 43)
  }).pipe(Effect.provide(Layer.provide(
    Engine.layer,
    settings({ vhosts: [{ path: "/test", channels: ["room"] }] })
  ))))
