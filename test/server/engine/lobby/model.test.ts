import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Duration, Effect } from "effect"
import * as DeadLetters from "../../../../src/server/engine/DeadLetters.ts"
import * as StoredVhosts from "../../../../src/server/engine/internal/storedVhosts.ts"
import * as FakeJournal from "../../../harness/FakeJournal.ts"
import { makeWithoutHeartbeats } from "../../../harness/lobby.ts"
import { makeModel } from "../../../harness/lobbyModel.ts"
import { atTheBeginning, makeReal, type Step, step, toTheEnd } from "../../../harness/lobbySteps.ts"
import { costly, pick } from "../../../protocol/arbitraries.ts"

interface Bound {
  readonly queueCapacity: number
  readonly queueSize: number
}

/** Whether a lobby and its model do the same, in each step and in the end. */
const compare = Effect.fnUntraced(function*(
  steps: ReadonlyArray<Step>,
  bound: Bound,
  retention: number,
  { backoff, maxDeliveries }: { readonly backoff: number; readonly maxDeliveries: number }
) {
  const clock = yield* Clock.Clock
  const deadLetters = DeadLetters.make({ deadLetterCapacity: 10_000, deadLetterSize: 1_000_000, clock })
  const journal = FakeJournal.make()
  const lobby = yield* makeWithoutHeartbeats({
    ...bound,
    lifecycleRetention: Duration.millis(retention),
    redeliveryBackoff: Duration.millis(backoff),
    maxDeliveries,
    deadLetters,
    journal
  })
  const real = makeReal(lobby)
  const model = makeModel(bound, retention, backoff, maxDeliveries)
  for (const step of [...steps, ...toTheEnd]) {
    yield* real.run(step)
    model.run(step)
    expect(real.takeLog()).toEqual(model.takeLog())
    expect(yield* lobby.info).toEqual(model.info())
    expect(lobby.counters).toMatchObject(model.counters())
    expect((yield* deadLetters.list).map(({ attempts, json, reason }) => [json, attempts, reason])).toEqual(
      model.dead()
    )
    // Every event that was accepted and not dropped is in exactly one place.
    expect(model.locations()).toEqual(model.accepted())
    expect(recordedIn(journal)).toEqual(model.recorded())
  }
  // In the end each of them is handled or a dead letter, and has an id of its own.
  const letters = (yield* deadLetters.list).map(({ json }) => json)
  expect([...real.settled, ...model.acknowledged(), ...letters].toSorted()).toEqual(model.accepted())
  expect(new Set(real.ids.values()).size).toBe(real.ids.size)
})

describe("Lobby, model", () => {
  it.effect.prop(
    "does what its model does, and handles every event exactly once, after any steps",
    [
      Arbitrary.array(step, { maxLength: 80 }),
      pick([
        { queueCapacity: 20, queueSize: 36 },
        { queueCapacity: 3, queueSize: 10_000 },
        { queueCapacity: 200, queueSize: 10_000 }
      ]),
      pick([2000, 400, 100]),
      pick([[], atTheBeginning]),
      pick([{ backoff: 0, maxDeliveries: Infinity }, { backoff: 300, maxDeliveries: 2 }])
    ],
    ([steps, bound, retention, beginning, limits]) => compare([...beginning, ...steps], bound, retention, limits),
    costly(40, 80)
  )

  it.effect("does what its model does if a worker that acks registers again without acks", () =>
    compare(
      [
        ...atTheBeginning,
        { do: "enqueue", count: 70 },
        { do: "join", id: "b", connection: 0, lifecycle: true, prefetch: undefined, maxAttempts: 1 },
        { do: "emit", count: 5 },
        { do: "ackAll" }
      ],
      { queueCapacity: 200, queueSize: 10_000 },
      100,
      { backoff: 0, maxDeliveries: Infinity }
    ))
})

/** The events that a store would have, with what is recorded of their deliveries. */
const recordedIn = (journal: FakeJournal.FakeJournal) =>
  StoredVhosts.eventsOf(journal.entries()).map(({ attempts, failures, json, losses }) => ({
    json,
    attempts,
    failures,
    losses
  }))
