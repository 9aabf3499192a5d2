import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Duration, Effect } from "effect"
import { constFalse } from "effect/Function"
import { TestClock } from "effect/testing"
import { TransientMap } from "../../../src/protocol/TransientMap.ts"
import * as Calls from "../../../src/server/engine/Calls.ts"
import { int } from "../../protocol/arbitraries.ts"

const make = (options?: { readonly idempotencyCapacity: number }) =>
  Effect.map(
    Clock.Clock,
    (clock) =>
      Calls.make({ idempotencyCapacity: 100_000, idempotencyRetention: Duration.minutes(5), clock, ...options })
  )

const caller: Calls.Caller = { running: new TransientMap(), size: 0, sendUnsafe: () => {} }

const call = (id: number, options?: { readonly uid?: string; readonly response?: string }): Calls.Call => ({
  id,
  uid: options?.uid ?? "joe",
  fingerprint: 1,
  size: 0,
  caller,
  isWanted: true,
  cancel: constFalse,
  response: options?.response,
  key: Calls.keyOf(options?.uid ?? "joe", "c", id)
})

const has = (calls: Calls.Calls, id: number, uid = "joe") => calls.find(Calls.keyOf(uid, "c", id)) !== undefined

describe("Calls", () => {
  it("have keys that no other client, id or kind of id has", () => {
    const names = [["c", 1], ["c", "1"], ["c,1", ""], ["c\",\"1", 1], ["", "c"]].map(([client, id]) =>
      Calls.keyOf("joe", String(client), id!).name
    )
    expect(new Set(names).size).toBe(names.length)
  })

  it.effect("are known while they run, and for 5 minutes after they have ended", () =>
    Effect.gen(function*() {
      const calls = yield* make()
      const one = call(1)
      calls.addUnsafe(one)
      yield* TestClock.adjust("1 hour")
      expect([has(calls, 1), has(calls, 1, "ann"), has(calls, 2)]).toEqual([true, false, false])
      calls.endUnsafe(one)
      // Nothing of the session is held.
      expect(one.caller).not.toBe(caller)
      yield* TestClock.adjust(Duration.millis(299_999))
      expect([has(calls, 1), calls.size()]).toEqual([true, 1])
      yield* TestClock.adjust(1)
      expect([has(calls, 1), calls.size()]).toEqual([false, 0])
      const cancelled = call(2)
      calls.addUnsafe(cancelled)
      calls.removeUnsafe(cancelled)
      expect([has(calls, 2), calls.size()]).toEqual([false, 0])
    }))

  it.effect("of one user are limited, and displace no other user's", () =>
    Effect.gen(function*() {
      const calls = yield* make()
      calls.endUnsafe(call(1, { uid: "ann" }))
      const running = call(0)
      calls.addUnsafe(running)
      for (let id = 1; id <= 1001; id++) calls.endUnsafe(call(id))
      expect([has(calls, 1), has(calls, 2), has(calls, 1001), has(calls, 0)]).toEqual([false, true, true, true])
      expect(has(calls, 1, "ann")).toBe(true)
      // A character counts twice.
      calls.endUnsafe(call(2000, { response: "x".repeat(2 * 1_048_576 - 300) }))
      expect([has(calls, 1001), has(calls, 2000)]).toEqual([false, true])
      calls.endUnsafe(call(2001, { response: "x".repeat(2 * 1_048_576) }))
      expect([has(calls, 2000), has(calls, 2001), calls.size()]).toEqual([false, false, 2])
    }))

  it.effect("of all users are limited, too: the oldest are removed first", () =>
    Effect.gen(function*() {
      const calls = yield* make({ idempotencyCapacity: 2 })
      for (const uid of ["a", "b", "c"]) calls.endUnsafe(call(1, { uid }))
      expect(["a", "b", "c"].map((uid) => has(calls, 1, uid))).toEqual([false, true, true])
      const large = yield* make()
      const response = "x".repeat(1_900_000)
      for (let n = 0; n < 20; n++) large.endUnsafe(call(1, { uid: `u${n}`, response }))
      expect([large.size(), has(large, 1, "u2"), has(large, 1, "u3")]).toEqual([17, false, true])
    }))

  it.effect("are removed in order, after one in the midst of them was", () =>
    Effect.gen(function*() {
      const calls = yield* make({ idempotencyCapacity: 3 })
      const response = "x".repeat(1_500_000)
      calls.endUnsafe(call(1, { uid: "a" }))
      calls.endUnsafe(call(1, { uid: "b", response }))
      calls.endUnsafe(call(2, { uid: "b", response }))
      expect([has(calls, 1, "a"), has(calls, 1, "b"), has(calls, 2, "b")]).toEqual([true, false, true])
      for (const uid of ["c", "d", "e"]) calls.endUnsafe(call(1, { uid }))
      expect([has(calls, 1, "a"), has(calls, 2, "b")]).toEqual([false, false])
      expect(["c", "d", "e"].map((uid) => has(calls, 1, uid))).toEqual([true, true, true])
    }))

  it.effect("are limited again after all of a user have expired", () =>
    Effect.gen(function*() {
      const calls = yield* make()
      const response = "x".repeat(1_500_000)
      calls.addUnsafe(call(0))
      calls.endUnsafe(call(1))
      yield* TestClock.adjust("5 minutes")
      for (const id of [2, 3]) calls.endUnsafe(call(id, { response }))
      expect([0, 1, 2, 3].map((id) => has(calls, id))).toEqual([true, false, false, true])
    }))

  it.effect.prop("are forgotten as a list of all would be: expired ones, a user's oldest, and the oldest of all", [
    Arbitrary.array(Arbitrary.all([int(0, 3), int(0, 3), int(0, 60)]), { maxLength: 40 })
  ], ([steps]) =>
    Effect.gen(function*() {
      const calls = yield* make({ idempotencyCapacity: 5 })
      let model: Array<{ readonly uid: string; readonly id: number; readonly size: number; readonly until: number }> =
        []
      let now = 0
      // One that runs keeps its user, whose others come and go.
      for (const user of [0, 1]) calls.addUnsafe(call(1000, { uid: `u${user}` }))
      for (const [id, [user, quarters, seconds]] of steps.entries()) {
        yield* TestClock.adjust(Duration.seconds(seconds))
        now += seconds
        const uid = `u${user}`
        const response = "x".repeat(quarters * 524_288)
        calls.endUnsafe(call(id, { uid, response }))
        const own = { uid, id, size: 512 + 2 * (2 + `["c",${id}]`.length + response.length), until: now + 300 }
        model = [...model.filter(({ until }) => until > now), own]
        const sizeOf = (some: typeof model) => some.reduce((sum, { size }) => sum + size, 0)
        const ofUser = () => model.filter((one) => one.uid === uid)
        while (sizeOf(ofUser()) > 4 * 1_048_576) model.splice(model.indexOf(ofUser()[0]!), 1)
        while (model.length > 5) model.shift()
        for (let before = 0; before <= id; before++) {
          const [user] = steps[before]!
          expect(has(calls, before, `u${user}`)).toBe(model.some((one) => one.id === before))
        }
        expect(calls.size()).toBe(model.length + 2)
      }
    }))
})
