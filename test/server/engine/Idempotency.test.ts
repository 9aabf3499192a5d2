import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { FromServer } from "../../../src/protocol/Command.ts"
import { ChannelNotFoundError } from "../../../src/protocol/KosmonautError.ts"
import type { StatusError } from "../../../src/protocol/KosmonautError.ts"
import * as Idempotency from "../../../src/server/engine/Idempotency.ts"

const memory = (
  options?: { readonly idempotencyCapacity?: number; readonly idempotencyRetention?: Duration.Duration }
) =>
  Effect.map(
    Clock.Clock,
    (clock) =>
      Idempotency.make({ idempotencyCapacity: 100_000, idempotencyRetention: Duration.minutes(5), clock, ...options })
  )

type Memory = Idempotency.Idempotency

/** Tells the request of these tests from others. */
const print = 1

const token = (n: number) => FromServer.AccessTokenIssued({ token: String(n) })

const unknown = FromServer.Failure({ code: 408 })

const nameOf = (n: number) => n.toString(36)

/** A request that has come by the connection `c` and was answered. */
const answered = (
  memory: Memory,
  n: number,
  exit: Exit.Exit<FromServer, StatusError> = Exit.succeed(token(n)),
  c = "c"
) => {
  const connection = memory.connection(c)
  const known = connection.beginUnsafe(nameOf(n), print)
  if (known === undefined) connection.endUnsafe(nameOf(n), exit)
  return known
}

/** What it is answered when it is made again; `carried out` where that was done. */
const again = (memory: Memory, n: number, connection = "c") => {
  let isCarriedOut = false
  const carryOut = Effect.sync(() => {
    isCarriedOut = true
    return FromServer.Ok()
  })
  return Effect.map(
    memory.again({ connection, message: nameOf(n) }, print, carryOut),
    (answer) => isCarriedOut ? "carried out" : answer
  )
}

describe("Idempotency", () => {
  it("has names of 1 to 16 characters, so that no request makes it large", () => {
    assert.deepStrictEqual(["", "a", "a".repeat(16), "a".repeat(17)].map(Idempotency.isName), [
      false,
      true,
      true,
      false
    ])
  })

  it.effect("gives no other request a response: a key is good for its own", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 1)
      const carryOut = Effect.die(new Error("carried out"))
      const other = idempotency.again({ connection: "c", message: nameOf(1) }, print + 1, carryOut)
      assert.strictEqual((yield* Effect.flip(other)).code, 400)
      assert.deepStrictEqual(yield* again(idempotency, 1), token(1))
      // So for a retry that came before its first attempt.
      assert.strictEqual(yield* again(idempotency, 2), "carried out")
      const first = idempotency.connection("c").beginUnsafe(nameOf(2), print + 1)!
      assert.strictEqual((yield* Effect.flip(first)).code, 400)
      assert.strictEqual(idempotency.counters.repeated, 1)
    }))

  it.effect("gives an answer again, an error's too, and carries nothing out", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 1)
      answered(idempotency, 2, Exit.fail(new ChannelNotFoundError({ channel: "room" })))
      answered(idempotency, 3, Exit.succeed(FromServer.Ok()))
      answered(idempotency, 4, Exit.succeed(FromServer.Answer({ json: "[204]" })))
      for (let round = 0; round < 2; round++) {
        assert.deepStrictEqual(yield* again(idempotency, 1), token(1))
        assert.deepStrictEqual(yield* again(idempotency, 2), FromServer.Failure({ code: 454 }))
        assert.deepStrictEqual(yield* again(idempotency, 3), FromServer.Ok())
        assert.deepStrictEqual(yield* again(idempotency, 4), FromServer.Answer({ json: "[204]" }))
      }
      assert.deepInclude(idempotency.counters, { kept: 4, repeated: 8, forgotten: 0 })
    }))

  it.effect("refuses what was begun and not ended, and what an unknown connection says", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 1, Exit.interrupt(1))
      answered(idempotency, 2, Exit.die("a fault"))
      assert.deepStrictEqual(yield* again(idempotency, 1), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 2), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 1, "other"), unknown)
    }))

  it.effect("carries out what never came, once, and not when it comes late", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 35)
      assert.strictEqual(yield* again(idempotency, 36), "carried out")
      assert.deepStrictEqual(yield* again(idempotency, 36), FromServer.Ok())
      const late = answered(idempotency, 36)
      assert.deepStrictEqual(late && (yield* late), FromServer.Ok())
      // Of what is before the first that was heard it is not known.
      assert.deepStrictEqual(yield* again(idempotency, 34), unknown)
    }))

  it.effect("carries out what never came to a connection that has only asked what nobody needs to know", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      idempotency.connection("c").meetUnsafe(nameOf(2))
      assert.deepStrictEqual(yield* again(idempotency, 1), unknown)
      assert.strictEqual(yield* again(idempotency, 3), "carried out")
      assert.strictEqual(idempotency.counters.kept, 1)
    }))

  it.effect("has whoever asks again wait while a request is being carried out", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      const connection = idempotency.connection("c")
      assert.isUndefined(connection.beginUnsafe("1", print))
      const waiting = yield* Effect.forEach([1, 2], () =>
        Effect.forkChild(again(idempotency, 1), { startImmediately: true }))
      assert.isUndefined(waiting[0]!.pollUnsafe())
      connection.endUnsafe("1", Exit.succeed(token(1)))
      assert.deepStrictEqual(yield* Fiber.joinAll(waiting), [token(1), token(1)])

      const latch = yield* Deferred.make<FromServer>()
      const first = yield* Effect.forkChild(
        idempotency.again({ connection: "c", message: "2" }, print, Deferred.await(latch)),
        { startImmediately: true }
      )
      const second = yield* Effect.forkChild(again(idempotency, 2), { startImmediately: true })
      yield* Deferred.succeed(latch, token(2))
      assert.deepStrictEqual(yield* Fiber.joinAll([first, second]), [token(2), token(2)])
    }))

  it.effect("keeps the last 4096 of a connection, and refuses those before", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      for (let n = 1; n <= 5000; n++) answered(idempotency, n)
      assert.deepStrictEqual(yield* again(idempotency, 904), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 905), token(905))
      assert.deepStrictEqual(yield* again(idempotency, 5000), token(5000))
      assert.strictEqual(yield* again(idempotency, 5001), "carried out")
      assert.strictEqual(idempotency.counters.kept, 4097)
    }))

  it.effect("keeps 1 MiB of a connection's answers, and refuses those before", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      const large = FromServer.Answer({ json: "x".repeat(400_000) })
      for (let n = 1; n <= 4; n++) answered(idempotency, n, Exit.succeed(large))
      assert.deepStrictEqual(yield* again(idempotency, 2), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 3), large)
      assert.deepStrictEqual(yield* again(idempotency, 4), large)
    }))

  it.effect("has no more than its capacity: the connection that is silent for longest loses its answers", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory({ idempotencyCapacity: 10 })
      for (const name of ["a", "b"]) {
        for (let n = 1; n <= 5; n++) answered(idempotency, n, undefined, name)
      }
      answered(idempotency, 6, undefined, "a")
      assert.deepInclude(idempotency.counters, { kept: 6, forgotten: 5 })
      assert.deepStrictEqual(yield* again(idempotency, 1, "a"), token(1))
      assert.deepStrictEqual(yield* again(idempotency, 5, "b"), unknown)
      // What it has not sent before is known not to have come.
      assert.strictEqual(yield* again(idempotency, 6, "b"), "carried out")
      for (let n = 7; n <= 30; n++) answered(idempotency, n, undefined, "a")
      assert.isAtMost(idempotency.counters.kept, 10)
      assert.deepStrictEqual(yield* again(idempotency, 30, "a"), token(30))
      assert.deepStrictEqual(yield* again(idempotency, 6, "b"), unknown)
    }))

  it.effect("takes them from who is silent now, however long it was before", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory({ idempotencyCapacity: 4 })
      for (const name of ["a", "b", "c", "d", "e"]) answered(idempotency, 1, undefined, name)
      assert.deepStrictEqual(yield* again(idempotency, 1, "a"), unknown)
      answered(idempotency, 2, undefined, "b")
      assert.deepStrictEqual(yield* again(idempotency, 1, "c"), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 1, "b"), token(1))
      answered(idempotency, 2, undefined, "c")
      assert.deepStrictEqual(yield* again(idempotency, 1, "d"), unknown)
      assert.deepInclude(idempotency.counters, { kept: 4, forgotten: 3 })
    }))

  it.effect("keeps 64 MiB of all answers", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      const large = FromServer.Answer({ json: "x".repeat(1_000_000) })
      for (let n = 1; n <= 70; n++) answered(idempotency, 1, Exit.succeed(large), `c${n}`)
      assert.deepInclude(idempotency.counters, { kept: 67, forgotten: 3 })
      assert.deepStrictEqual(yield* again(idempotency, 1, "c3"), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 1, "c4"), large)
    }))

  it.effect("keeps 1 MiB of the answers to what never came, too", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 1)
      const large = FromServer.Answer({ json: "x".repeat(400_000) })
      for (let n = 2; n <= 5; n++) {
        yield* idempotency.again({ connection: "c", message: nameOf(n) }, print, Effect.succeed(large))
      }
      assert.deepStrictEqual(yield* again(idempotency, 3), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 4), large)
      assert.deepStrictEqual(yield* again(idempotency, 5), large)
    }))

  it.effect("lets nobody wait for what is forgotten", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory({ idempotencyCapacity: 1 })
      idempotency.connection("a").beginUnsafe("1", print)
      const waiting = yield* Effect.forkChild(again(idempotency, 1, "a"), { startImmediately: true })
      answered(idempotency, 1, undefined, "b")
      assert.deepStrictEqual(yield* Fiber.join(waiting), unknown)
    }))

  it.effect("forgets the answers of a connection that is silent, when another comes", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      answered(idempotency, 1)
      for (const [time, kept] of [["1 minute", true], ["4 minutes", true], ["5 minutes", false]] as const) {
        yield* TestClock.adjust(time)
        idempotency.connection(time)
        assert.strictEqual(idempotency.counters.kept > 0, kept, time)
      }
      assert.deepStrictEqual(yield* again(idempotency, 1), unknown)
      assert.strictEqual(yield* again(idempotency, 2), "carried out")
    }))

  it.effect("knows a bounded number of connections", () =>
    Effect.gen(function*() {
      const idempotency = yield* memory()
      const first = idempotency.connection("first")
      answered(idempotency, 1, undefined, "first")
      for (let n = 0; n < 10_000; n++) answered(idempotency, 1, undefined, `c${n}`)
      assert.isTrue(first.isForgotten())
      assert.deepStrictEqual(yield* again(idempotency, 1, "first"), unknown)
      assert.deepStrictEqual(yield* again(idempotency, 1, "c9999"), token(1))
      assert.strictEqual(idempotency.counters.kept, 5001)
    }))
})
