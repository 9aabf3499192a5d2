import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Appender from "../../../src/server/cluster/internal/appender.ts"
import { SharedLogError } from "../../../src/server/engine/SharedLog.ts"

describe("What appends to the logs in Redis", () => {
  it.effect("fails what is on its way when it has failed itself, and goes on", () =>
    Effect.gen(function*() {
      let defects = 1
      const append = yield* Appender.make(
        { run: () => defects-- > 0 ? Effect.die("not an answer") : Effect.succeed([7]) },
        () => {}
      )
      const error = yield* Effect.flip(append("/chat", "e", "first"))
      expect(error).toBeInstanceOf(SharedLogError)
      expect(error.wasAppended).toBe("maybe")
      yield* TestClock.adjust("1 second")
      expect(yield* append("/chat", "e", "second")).toBe(7)
    }))
})
