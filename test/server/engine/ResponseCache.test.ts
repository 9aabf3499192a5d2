import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { FromServer } from "../../../src/protocol/Command.ts"
import { ChannelNotFoundError } from "../../../src/protocol/KosmonautError.ts"
import type { StatusError } from "../../../src/protocol/KosmonautError.ts"
import * as ResponseCache from "../../../src/server/engine/ResponseCache.ts"

const make = (
  options?: { readonly idempotencyCapacity?: number; readonly idempotencyRetention?: Duration.Duration }
) =>
  Effect.map(
    Clock.Clock,
    (clock) =>
      ResponseCache.make({ idempotencyCapacity: 100_000, idempotencyRetention: Duration.minutes(5), clock, ...options })
  )

type Cache = ResponseCache.ResponseCache

/** The fingerprint of the requests in these tests. */
const fingerprint = 1

const token = (n: number) => FromServer.AccessTokenIssued({ token: String(n) })

const unknown = FromServer.Failure({ code: 408 })

const nameOf = (n: number) => n.toString(36)

/** A request that arrived on the connection `c` and has its response. */
const answered = (
  cache: Cache,
  n: number,
  exit: Exit.Exit<FromServer, StatusError> = Exit.succeed(token(n)),
  c = "c"
) => {
  const connection = cache.connection(c)
  const known = connection.beginUnsafe(nameOf(n), fingerprint)
  if (known === undefined) connection.endUnsafe(nameOf(n), exit)
  return known
}

/** The response to a retry; `executed` if it was executed. */
const retry = (cache: Cache, n: number, connection = "c") => {
  let isExecuted = false
  const execute = Effect.sync(() => {
    isExecuted = true
    return FromServer.Ok()
  })
  return Effect.map(
    cache.retry({ connection, message: nameOf(n) }, fingerprint, execute),
    (response) => isExecuted ? "executed" : response
  )
}

describe("ResponseCache", () => {
  it("has keys of 1 to 16 characters, so that no request makes it large", () => {
    assert.deepStrictEqual(["", "a", "a".repeat(16), "a".repeat(17)].map(ResponseCache.isMessageId), [
      false,
      true,
      true,
      false
    ])
  })

  it.effect("rejects a key that belongs to another request", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 1)
      const execute = Effect.die(new Error("executed"))
      const other = cache.retry({ connection: "c", message: nameOf(1) }, fingerprint + 1, execute)
      assert.strictEqual((yield* Effect.flip(other)).code, 400)
      assert.deepStrictEqual(yield* retry(cache, 1), token(1))
      // The same for a retry that arrived before its first attempt.
      assert.strictEqual(yield* retry(cache, 2), "executed")
      const first = cache.connection("c").beginUnsafe(nameOf(2), fingerprint + 1)!
      assert.strictEqual((yield* Effect.flip(first)).code, 400)
      assert.strictEqual(cache.counters.retried, 1)
    }))

  it.effect("returns the cached response, also of an error, and executes nothing", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 1)
      answered(cache, 2, Exit.fail(new ChannelNotFoundError({ channel: "room" })))
      answered(cache, 3, Exit.succeed(FromServer.Ok()))
      answered(cache, 4, Exit.succeed(FromServer.Response({ json: "[204]" })))
      for (let round = 0; round < 2; round++) {
        assert.deepStrictEqual(yield* retry(cache, 1), token(1))
        assert.deepStrictEqual(yield* retry(cache, 2), FromServer.Failure({ code: 454 }))
        assert.deepStrictEqual(yield* retry(cache, 3), FromServer.Ok())
        assert.deepStrictEqual(yield* retry(cache, 4), FromServer.Response({ json: "[204]" }))
      }
      assert.deepInclude(cache.counters, { cached: 4, retried: 8, evicted: 0 })
    }))

  it.effect("rejects retries of interrupted requests and of unknown connections", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 1, Exit.interrupt(1))
      answered(cache, 2, Exit.die("a fault"))
      assert.deepStrictEqual(yield* retry(cache, 1), unknown)
      assert.deepStrictEqual(yield* retry(cache, 2), unknown)
      assert.deepStrictEqual(yield* retry(cache, 1, "other"), unknown)
    }))

  it.effect("executes a request that never arrived once, and not when it arrives late", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 35)
      assert.strictEqual(yield* retry(cache, 36), "executed")
      assert.deepStrictEqual(yield* retry(cache, 36), FromServer.Ok())
      const late = answered(cache, 36)
      assert.deepStrictEqual(late && (yield* late), FromServer.Ok())
      // It is unknown whether messages before the first one arrived.
      assert.deepStrictEqual(yield* retry(cache, 34), unknown)
    }))

  it.effect("executes requests that never arrived on a connection with idempotent requests only", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      cache.connection("c").skipUnsafe(nameOf(2))
      assert.deepStrictEqual(yield* retry(cache, 1), unknown)
      assert.strictEqual(yield* retry(cache, 3), "executed")
      assert.strictEqual(cache.counters.cached, 1)
    }))

  it.effect("keeps no retry waiting whose connection has ended", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      const connection = cache.connection("c")
      connection.beginUnsafe(nameOf(1), fingerprint)
      const ended = yield* Deferred.make<FromServer>()
      const execute = Effect.die(new Error("executed"))
      const fiber = yield* Effect.forkChild(
        cache.retry({ connection: "c", message: nameOf(1) }, fingerprint, execute, ended),
        { startImmediately: true }
      )
      assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(ended, ResponseCache.cancelled)
      assert.strictEqual(yield* Fiber.join(fiber), ResponseCache.cancelled)
      // The request itself goes on.
      connection.endUnsafe(nameOf(1), Exit.succeed(token(1)))
      assert.deepStrictEqual(yield* retry(cache, 1), token(1))
    }))

  it.effect("makes retries wait while the request is being executed", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      const connection = cache.connection("c")
      assert.isUndefined(connection.beginUnsafe("1", fingerprint))
      const waiting = yield* Effect.forEach([1, 2], () => Effect.forkChild(retry(cache, 1), { startImmediately: true }))
      assert.isUndefined(waiting[0]!.pollUnsafe())
      connection.endUnsafe("1", Exit.succeed(token(1)))
      assert.deepStrictEqual(yield* Fiber.joinAll(waiting), [token(1), token(1)])

      const latch = yield* Deferred.make<FromServer>()
      const first = yield* Effect.forkChild(
        cache.retry({ connection: "c", message: "2" }, fingerprint, Deferred.await(latch)),
        { startImmediately: true }
      )
      const second = yield* Effect.forkChild(retry(cache, 2), { startImmediately: true })
      yield* Deferred.succeed(latch, token(2))
      assert.deepStrictEqual(yield* Fiber.joinAll([first, second]), [token(2), token(2)])
    }))

  it.effect("caches the last 4096 responses of a connection", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      for (let n = 1; n <= 5000; n++) answered(cache, n)
      assert.deepStrictEqual(yield* retry(cache, 904), unknown)
      assert.deepStrictEqual(yield* retry(cache, 905), token(905))
      assert.deepStrictEqual(yield* retry(cache, 5000), token(5000))
      assert.strictEqual(yield* retry(cache, 5001), "executed")
      assert.strictEqual(cache.counters.cached, 4097)
    }))

  it.effect("caches 1 MiB of a connection's responses", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      const large = FromServer.Response({ json: "x".repeat(400_000) })
      for (let n = 1; n <= 4; n++) answered(cache, n, Exit.succeed(large))
      assert.deepStrictEqual(yield* retry(cache, 2), unknown)
      assert.deepStrictEqual(yield* retry(cache, 3), large)
      assert.deepStrictEqual(yield* retry(cache, 4), large)
    }))

  it.effect.each([0, 1])(
    "caches exactly 1 MiB of a connection's responses, and not %i more",
    (more) =>
      Effect.gen(function*() {
        const cache = yield* make()
        const half = (length: number) => FromServer.Response({ json: "x".repeat(length) })
        answered(cache, 1, Exit.succeed(half(524_288)))
        answered(cache, 2, Exit.succeed(half(524_288 + more)))
        assert.deepStrictEqual(yield* retry(cache, 1), more === 0 ? half(524_288) : unknown)
      })
  )

  it.effect("evicts the connection that has been idle for longest beyond its capacity", () =>
    Effect.gen(function*() {
      const cache = yield* make({ idempotencyCapacity: 10 })
      for (const name of ["a", "b"]) {
        for (let n = 1; n <= 5; n++) answered(cache, n, undefined, name)
      }
      answered(cache, 6, undefined, "a")
      assert.deepInclude(cache.counters, { cached: 6, evicted: 5 })
      assert.deepStrictEqual(yield* retry(cache, 1, "a"), token(1))
      assert.deepStrictEqual(yield* retry(cache, 5, "b"), unknown)
      // Later messages are known never to have arrived.
      assert.strictEqual(yield* retry(cache, 6, "b"), "executed")
      for (let n = 7; n <= 30; n++) answered(cache, n, undefined, "a")
      assert.isAtMost(cache.counters.cached, 10)
      assert.deepStrictEqual(yield* retry(cache, 30, "a"), token(30))
      assert.deepStrictEqual(yield* retry(cache, 6, "b"), unknown)
    }))

  it.effect("evicts by the last request, not by the first", () =>
    Effect.gen(function*() {
      const cache = yield* make({ idempotencyCapacity: 4 })
      for (const name of ["a", "b", "c", "d", "e"]) answered(cache, 1, undefined, name)
      assert.deepStrictEqual(yield* retry(cache, 1, "a"), unknown)
      answered(cache, 2, undefined, "b")
      assert.deepStrictEqual(yield* retry(cache, 1, "c"), unknown)
      assert.deepStrictEqual(yield* retry(cache, 1, "b"), token(1))
      answered(cache, 2, undefined, "c")
      assert.deepStrictEqual(yield* retry(cache, 1, "d"), unknown)
      assert.deepInclude(cache.counters, { cached: 4, evicted: 3 })
    }))

  it.effect("caches 64 MiB in all", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      const large = FromServer.Response({ json: "x".repeat(1_000_000) })
      for (let n = 1; n <= 70; n++) answered(cache, 1, Exit.succeed(large), `c${n}`)
      assert.deepInclude(cache.counters, { cached: 67, evicted: 3 })
      assert.deepStrictEqual(yield* retry(cache, 1, "c3"), unknown)
      assert.deepStrictEqual(yield* retry(cache, 1, "c4"), large)
    }))

  it.effect("caches 1 MiB of responses to retries that arrived first", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 1)
      const large = FromServer.Response({ json: "x".repeat(400_000) })
      for (let n = 2; n <= 5; n++) {
        yield* cache.retry({ connection: "c", message: nameOf(n) }, fingerprint, Effect.succeed(large))
      }
      assert.deepStrictEqual(yield* retry(cache, 3), unknown)
      assert.deepStrictEqual(yield* retry(cache, 4), large)
      assert.deepStrictEqual(yield* retry(cache, 5), large)
    }))

  it.effect("resumes retries that wait for an evicted response", () =>
    Effect.gen(function*() {
      const cache = yield* make({ idempotencyCapacity: 1 })
      cache.connection("a").beginUnsafe("1", fingerprint)
      const waiting = yield* Effect.forkChild(retry(cache, 1, "a"), { startImmediately: true })
      answered(cache, 1, undefined, "b")
      assert.deepStrictEqual(yield* Fiber.join(waiting), unknown)
    }))

  it.effect("clears the responses of an idle connection when another connects", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      answered(cache, 1)
      for (const [time, isCached] of [["1 minute", true], ["4 minutes", true], ["5 minutes", false]] as const) {
        yield* TestClock.adjust(time)
        cache.connection(time)
        assert.strictEqual(cache.counters.cached > 0, isCached, time)
      }
      assert.deepStrictEqual(yield* retry(cache, 1), unknown)
      assert.strictEqual(yield* retry(cache, 2), "executed")
    }))

  it.effect("knows a bounded number of connections", () =>
    Effect.gen(function*() {
      const cache = yield* make()
      const first = cache.connection("first")
      answered(cache, 1, undefined, "first")
      for (let n = 0; n < 10_000; n++) answered(cache, 1, undefined, `c${n}`)
      assert.isTrue(first.isEvicted())
      assert.deepStrictEqual(yield* retry(cache, 1, "first"), unknown)
      assert.deepStrictEqual(yield* retry(cache, 1, "c9999"), token(1))
      assert.strictEqual(cache.counters.cached, 5001)
    }))
})
