/**
 * The fibers that watch deadlines end when nothing is left to watch. A request that is made at that moment times out like any
 * other, wherever the scheduler interrupts those fibers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, References } from "effect"
import * as PendingRequests from "../../src/client/internal/pendingRequests.ts"

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Whether a request times out that is made so many turns after another one has. */
const timesOut = (extraTime: number, turns: number) =>
  Effect.gen(function*() {
    const pending = yield* PendingRequests.make({
      timeout: Duration.millis(5),
      extraTime: () => extraTime,
      onTimeout: () => {},
      onSilence: Effect.void
    })
    const ended = Effect.suspend(() => {
      const outcome = Deferred.makeUnsafe<void>()
      const request = pending.addUnsafe("c", "RQ", [], {
        onResponse: () => {},
        onFailure: () => void Deferred.doneUnsafe(outcome, Effect.void)
      })
      request.frames = undefined
      return Deferred.await(outcome)
    })
    yield* ended
    for (let index = 0; index < turns; index++) yield* turn
    return (yield* Effect.timeoutOption(ended, "5 seconds"))._tag === "Some"
  }).pipe(
    Effect.scoped,
    // Fibers yield as often as they can.
    Effect.provideService(References.MaxOpsBeforeYield, 3)
  )

describe("a request that is made when the last deadline has passed", () => {
  it.live.each<[string, number]>([["a Client's", 0], ["one for a worker", 1]])(
    "times out: %s",
    ([_, extraTime]) =>
      Effect.gen(function*() {
        const turns = Array.from({ length: 40 }, (_, index) => index)
        const outcomes = yield* Effect.forEach(turns, (turns) => timesOut(extraTime, turns), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(turns.filter((turns) => !outcomes[turns]), [])
      })
  )
})
