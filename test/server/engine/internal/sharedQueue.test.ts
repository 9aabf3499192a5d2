import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Latch } from "effect"
import { TestClock } from "effect/testing"
import * as SharedQueue from "../../../../src/server/engine/internal/sharedQueue.ts"
import * as Timeline from "../../../../src/server/engine/internal/timeline.ts"
import type * as Shared from "../../../../src/server/engine/SharedQueue.ts"

const none = { queued: 0, unacked: 0, oldestAge: undefined, workers: 0 }

/** What a poll finds: an event of this age. */
const found = (oldestAge: number) =>
  ({
    answers: [],
    claimed: [],
    responses: [],
    ended: [],
    hasAges: true,
    time: 0,
    status: {
      lanes: { events: { ...none, queued: 1, oldestAge }, requests: none, lifecycle: none },
      deadLetters: 0,
      dueIn: undefined,
      isAttended: true,
      dropped: 0,
      redelivered: 0,
      lettersAdded: 0,
      lettersDropped: 0
    }
  }) as unknown as Shared.TurnResult

describe("The queue of a node", () => {
  it.effect("counts the time that a turn took as age of what it found", () =>
    Effect.gen(function*() {
      const asked = Latch.makeUnsafe()
      const run = () => Effect.andThen(asked.open, Effect.delay(Effect.succeed(found(4000)), 300))
      const shared = { run, onWakeUnsafe: () => () => {} } as unknown as Shared.SharedQueue
      const queue = SharedQueue.make(shared, {
        timeline: Timeline.make(yield* Clock.Clock, 500),
        deliver: () => {}
      } as unknown as SharedQueue.SharedOptions)
      yield* Effect.forkScoped(queue.run)
      yield* asked.await
      yield* TestClock.adjust(300)
      expect(queue.infoOf("events").oldestAge).toBe(4300)
      yield* TestClock.adjust(200)
      expect(queue.infoOf("events").oldestAge).toBe(4500)
    }))
})
