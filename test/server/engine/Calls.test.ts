import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect } from "effect"
import { constFalse } from "effect/Function"
import { TestClock } from "effect/testing"
import * as Calls from "../../../src/server/engine/Calls.ts"

const make = (options?: { readonly idempotencyCapacity: number }) =>
  Effect.map(
    Clock.Clock,
    (clock) =>
      Calls.make({ idempotencyCapacity: 100_000, idempotencyRetention: Duration.minutes(5), clock, ...options })
  )

const caller: Calls.Caller = { running: new Map(), size: 0, sendUnsafe: () => {} }

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
})
