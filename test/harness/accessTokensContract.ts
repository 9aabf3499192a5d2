/**
 * What single access tokens promise, wherever they are kept, as tests in real time.
 */
import { expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Redacted, type Scope } from "effect"
import * as JsonText from "../../src/protocol/JsonText.ts"
import { InternalError, UnauthorizedError } from "../../src/protocol/KosmonautError.ts"
import type * as Engine from "../../src/server/engine/AccessTokens.ts"
import { eventually } from "./eventually.ts"

export interface Limits {
  readonly maxAccessTokens?: number
  readonly accessTokenTimeToLive?: Duration.Duration
}

type AccessTokens = Omit<Engine.AccessTokens, "verify">

type Make = (limits?: Limits) => Effect.Effect<AccessTokens, unknown, Scope.Scope>

const issue = (tokens: AccessTokens, uid = "joe", pattern = ".*") =>
  Effect.map(tokens.issue(uid, pattern), Redacted.value)

/** Declares the tests. */
export const accessTokensContract = (make: Make): void => {
  it.live("are redeemed once, by one of many", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const token = yield* issue(tokens, "joe", "private-.*")
      expect(token).toMatch(/^[0-9a-f]{128}$/)
      const redeemed = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.result(tokens.redeem(token)), {
        concurrency: "unbounded"
      })
      const [permission, ...more] = redeemed.flatMap((one) => one._tag === "Success" ? [one.success] : [])
      expect(more).toEqual([])
      expect([permission!.uid, permission!.allows("private-a"), permission!.allows("other")]).toEqual([
        "joe",
        true,
        false
      ])
      for (const one of redeemed) if (one._tag === "Failure") expect(one.failure).toBeInstanceOf(UnauthorizedError)
    }))

  it.live("grant what they were issued with, until it ends", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const info = JsonText.fromObject({ name: "Joe ☃" })
      const token = yield* tokens.issue("joe ☃ \ud800", ".*", { channels: ["private-a"], info, expiresIn: 60_000 })
      const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
      const before = yield* now
      const permission = yield* tokens.redeem(Redacted.value(token))
      expect(permission).toMatchObject({ channels: ["private-a"], info })
      expect(permission.expiresAt! - before).toBeGreaterThan(50_000)
      // Each side rounds to a millisecond.
      expect(permission.expiresAt! - (yield* now)).toBeLessThanOrEqual(60_002)
    }))

  it.live.each(["", "nope", "__proto__", "0".repeat(128), "f".repeat(127) + "*"])(
    "reject %j",
    (token) =>
      Effect.gen(function*() {
        const tokens = yield* make()
        yield* issue(tokens)
        expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(UnauthorizedError)
      })
  )

  it.live("are at most as many as may be, and make room when they are used or revoked, or expire", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 2 })
      const [first] = [yield* issue(tokens), yield* issue(tokens, "ann")]
      expect(yield* Effect.flip(issue(tokens))).toBeInstanceOf(InternalError)
      yield* tokens.redeem(first!)
      yield* issue(tokens)
      expect(yield* tokens.revoke("ann")).toBe(1)
      const short = Redacted.value(yield* tokens.issue("eve", ".*", { expiresIn: 50 }))
      yield* eventually(Effect.option(issue(tokens)), ({ _tag }) => _tag === "Some")
      expect(yield* Effect.flip(tokens.redeem(short))).toBeInstanceOf(UnauthorizedError)
    }))

  it.live("live no longer than the time to live", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 1, accessTokenTimeToLive: Duration.millis(50) })
      const token = yield* issue(tokens)
      yield* eventually(Effect.option(issue(tokens)), ({ _tag }) => _tag === "Some")
      expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(UnauthorizedError)
    }))

  it.live("are revoked by user, and of nobody else", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const joe = yield* Effect.replicateEffect(issue(tokens), 3)
      const ann = yield* issue(tokens, "ann")
      yield* tokens.redeem(joe[0]!)
      expect([yield* tokens.revoke("joe"), yield* tokens.revoke("joe"), yield* tokens.revoke("eve")]).toEqual([2, 0, 0])
      for (const token of joe) yield* Effect.flip(tokens.redeem(token))
      yield* tokens.redeem(ann)
      expect(yield* tokens.revoke("ann")).toBe(0)
      yield* tokens.redeem(yield* issue(tokens))
    }))

  it.live("are not issued for a pattern that does not compile", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 1 })
      expect(yield* Effect.flip(issue(tokens, "joe", "..*{34}"))).toBeInstanceOf(InternalError)
      yield* issue(tokens)
    }))
}
