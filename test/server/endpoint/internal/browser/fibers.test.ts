import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Scope } from "effect"
import * as Fibers from "../../../../../src/server/endpoint/internal/browser/fibers.ts"
import { eventually } from "../../../../harness/eventually.ts"
import { logged } from "../../../../harness/logged.ts"

const begin = (timeout: Duration.Duration) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const run = yield* Scope.provide(Fibers.make(timeout), scope)
    return { run, end: Scope.close(scope, Exit.void) }
  })

describe("fibers of an endpoint", () => {
  it.live("are awaited when it ends", () =>
    Effect.gen(function*() {
      const { end, run } = yield* begin(Duration.seconds(10))
      const goOn = yield* Deferred.make<void>()
      let done = false
      run(Effect.andThen(Deferred.await(goOn), Effect.sync(() => done = true)))
      const ending = yield* Effect.forkChild(end, { startImmediately: true })
      assert.isUndefined(ending.pollUnsafe())
      yield* Deferred.succeed(goOn, undefined)
      yield* eventually(Effect.sync(() => ending.pollUnsafe()), (exit) => exit !== undefined)
      assert.isTrue(done)
    }))

  it.live("are interrupted if they take too long", () =>
    Effect.gen(function*() {
      const { end, run } = yield* begin(Duration.millis(50))
      let interrupted = false
      run(Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted = true)))
      yield* end
      assert.isTrue(interrupted)
    }))

  it.live("log their defects, and nothing else", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const { end, run } = yield* begin(Duration.millis(50))
      run(Effect.die(new Error("at once")))
      run(Effect.andThen(Effect.sleep(1), Effect.die(new Error("later"))))
      run(Effect.void)
      run(Effect.never)
      yield* end
      assert.deepStrictEqual(lines, Array(2).fill("ERROR A browser's connection was not handled"))
    }).pipe(Effect.provide(layer))
  })
})
