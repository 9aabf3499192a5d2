import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Clock, Deferred, Duration, Effect, Exit, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import { InternalError, UnauthorizedError } from "../../../src/protocol/KosmonautError.ts"
import * as AccessTokens from "../../../src/server/engine/AccessTokens.ts"
import * as Patterns from "../../../src/server/engine/internal/patterns.ts"
import * as Journal from "../../../src/server/engine/Journal.ts"
import { accessTokensContract } from "../../harness/accessTokensContract.ts"
import { garbage, int, oneOf } from "../../protocol/arbitraries.ts"

const make = (options?: Partial<Parameters<typeof AccessTokens.make>[0]>) =>
  Effect.map(
    Clock.Clock,
    (clock) => AccessTokens.make({ maxAccessTokens: 100, accessTokenTimeToLive: Duration.hours(1), clock, ...options })
  )

const issue = (tokens: AccessTokens.AccessTokens, uid = "joe", pattern = ".*") =>
  Effect.map(tokens.issue(uid, pattern), Redacted.value)

type Step =
  | { readonly do: "issue"; readonly minutes: number }
  | { readonly do: "redeem"; readonly which: number }
  | { readonly do: "wait"; readonly minutes: number }

const step: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  Arbitrary.map(int(1, 90), (minutes) => ({ do: "issue", minutes })),
  Arbitrary.map(int(0, 20), (which) => ({ do: "redeem", which })),
  Arbitrary.map(int(1, 40), (minutes) => ({ do: "wait", minutes }))
)

describe("AccessTokens", () => {
  accessTokensContract((limits) => make(limits))

  it.effect("issues different tokens of 128 hexadecimal digits", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const issued = yield* Effect.replicateEffect(issue(tokens), 50)
      for (const token of issued) expect(token).toMatch(/^[0-9a-f]{128}$/)
      expect(new Set(issued).size).toBe(50)
    }))

  it.effect("returns the permission that a token was issued for", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const joe = yield* issue(tokens, "joe", "private-a")
      const ann = yield* issue(tokens, "ann", "presence-.*")
      const annMay = yield* tokens.redeem(ann)
      const joeMay = yield* tokens.redeem(joe)
      expect([joeMay.uid, joeMay.allows("private-a"), joeMay.allows("presence-a")]).toEqual(["joe", true, false])
      expect([annMay.uid, annMay.allows("private-a"), annMay.allows("presence-a")]).toEqual(["ann", false, true])
    }))

  it.effect("returns what else was granted, until the end that it has had since it was issued", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minute")
      const tokens = yield* make()
      const info = JsonText.fromObject({ name: "Joe" })
      const options = { channels: ["private-a"], info, expiresIn: 1_800_000 }
      const token = Redacted.value(yield* tokens.issue("joe", ".*", options))
      const plain = yield* issue(tokens)
      yield* TestClock.adjust("20 minutes")
      expect(yield* tokens.redeem(token)).toMatchObject({ channels: ["private-a"], info, expiresAt: 1_860_000 })
      expect(Object.keys(yield* tokens.redeem(plain)).toSorted()).toEqual(["allows", "uid"])
    }))

  it.effect("expires a token with the end of what it grants, and makes room for another one", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 2 })
      yield* issue(tokens)
      const short = Redacted.value(yield* tokens.issue("joe", ".*", { expiresIn: 60_000 }))
      yield* Effect.flip(issue(tokens))
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flip(tokens.redeem(short))).toBeInstanceOf(UnauthorizedError)
      yield* issue(tokens)
    }))

  it.effect("restores what was granted, and never for longer than it was granted", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("10 minutes")
      const recorded: Array<AccessTokens.Issued> = []
      const journal = { ...Journal.none, created: (entry: unknown) => void recorded.push(entry as AccessTokens.Issued) }
      const first = yield* make({ journal })
      const info = JsonText.fromObject({ name: "Joe" })
      const token = Redacted.value(yield* first.issue("joe", ".*", { channels: ["a"], info, expiresIn: 7_200_000 }))
      const restored = yield* make({ issued: recorded })
      yield* TestClock.setTime(0)
      const late = yield* make({ issued: recorded })
      expect(yield* restored.redeem(token)).toMatchObject({ channels: ["a"], info, expiresAt: 7_800_000 })
      const now = Number((yield* Clock.Clock).monotonicTimeNanosUnsafe()) / 1e6
      expect(yield* late.redeem(token)).toMatchObject({ expiresAt: now + 7_200_000 })
    }))

  it.effect("revokes also the tokens of which it is not persisted yet that they are used", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const tokens = yield* make({ journal: { ...Journal.none, persisted: Deferred.await(gate) } })
      const [joe, ann] = [yield* issue(tokens), yield* issue(tokens, "ann")]
      const using = yield* Effect.forEach(
        [joe, ann],
        (token) => Effect.forkChild(tokens.redeem(token), { startImmediately: true })
      )
      expect([yield* tokens.revoke("joe"), yield* tokens.revoke("joe")]).toEqual([1, 0])
      yield* Deferred.succeed(gate, undefined)
      const [used, other] = yield* Effect.forEach(using, Fiber.await)
      expect([Exit.isSuccess(used!), Exit.isSuccess(other!)]).toEqual([false, true])
      expect(yield* tokens.revoke("ann")).toBe(0)
    }))

  it.effect("does not let a browser in if it cannot be persisted that its token is used", () =>
    Effect.gen(function*() {
      let works = false
      const persisted = Effect.suspend(() => works ? Effect.void : Effect.fail(new InternalError({ detail: "full" })))
      const tokens = yield* make({ journal: { ...Journal.none, persisted } })
      const token = yield* issue(tokens)
      expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(InternalError)
      works = true
      expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(UnauthorizedError)
      expect(yield* tokens.revoke("joe")).toBe(0)
    }))

  it.effect("redeems each token once", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const token = yield* issue(tokens)
      yield* tokens.redeem(token)
      const failure = yield* Effect.flip(tokens.redeem(token))
      expect(failure).toBeInstanceOf(UnauthorizedError)
    }))

  it.effect("redeems a token once if many browsers send it at the same time", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const token = yield* issue(tokens)
      const used = yield* Effect.all(
        Array.from(
          { length: 50 },
          () => Effect.match(tokens.redeem(token), { onFailure: () => 0, onSuccess: () => 1 })
        ),
        { concurrency: "unbounded" }
      )
      expect(used.reduce<number>((sum, one) => sum + one, 0)).toBe(1)
    }))

  it.effect.each(["", "nope", "__proto__", "constructor", "0".repeat(128)])(
    "rejects %j",
    (token) =>
      Effect.gen(function*() {
        const tokens = yield* make()
        yield* issue(tokens)
        const failure = yield* Effect.flip(tokens.redeem(token))
        expect(failure).toBeInstanceOf(UnauthorizedError)
        if (token !== "") expect(JSON.stringify(failure) + failure.message).not.toContain(token)
      })
  )

  it.effect("restores tokens, none of them for longer than a new one, whatever the wall clock was then", () =>
    Effect.gen(function*() {
      const stored = (n: number, expiresAt: number) => ({
        token: Redacted.make(String(n).repeat(128)),
        uid: `user ${n}`,
        pattern: ".*",
        expiresAt
      })
      yield* TestClock.adjust("10 minutes")
      // The clock was an hour ahead, is right, and the last one has expired in the meantime.
      const all = [stored(0, 4_260_000), stored(1, 630_000), stored(2, 599_999)]
      const tokens = yield* make({ maxAccessTokens: 2, accessTokenTimeToLive: Duration.minutes(1), issued: all })
      const isValid = (n: number) => Effect.isSuccess(tokens.redeem(String(n).repeat(128)))
      expect(yield* isValid(2)).toBe(false)
      yield* Effect.flip(issue(tokens))
      yield* TestClock.adjust("29 seconds")
      yield* Effect.flip(issue(tokens))
      yield* TestClock.adjust("1 second")
      expect(yield* isValid(1)).toBe(false)
      // It has left its room, though it came after one that lives longer.
      yield* issue(tokens)
      yield* TestClock.adjust("30 seconds")
      expect(yield* isValid(0)).toBe(false)
      yield* issue(tokens)
    }))

  it.effect("measures a token's time by a clock that cannot be set", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("2 hours")
      const tokens = yield* make()
      const [first, second] = [yield* issue(tokens), yield* issue(tokens)]
      yield* TestClock.setTime(0)
      yield* TestClock.adjust("59 minutes")
      yield* tokens.redeem(first)
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flip(tokens.redeem(second))).toBeInstanceOf(UnauthorizedError)
    }))

  it.effect("compiles a pattern once for all its tokens", () =>
    Effect.gen(function*() {
      const compiled: Array<string> = []
      const patterns = Patterns.make()
      const tokens = yield* make({ patterns: (pattern) => (compiled.push(pattern), patterns(pattern)) })
      const [one, other] = [yield* issue(tokens, "ann"), yield* issue(tokens, "joe")]
      const permissions = [yield* tokens.redeem(one), yield* tokens.redeem(other)]
      expect(compiled.length).toBe(4)
      expect(permissions[0]!.allows).toBe(permissions[1]!.allows)
    }))

  it.effect("expires a token exactly after its time to live", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const early = yield* issue(tokens)
      const late = yield* issue(tokens)
      yield* TestClock.adjust("3599999 millis")
      yield* tokens.redeem(early)
      yield* TestClock.adjust("1 millis")
      expect(yield* Effect.flip(tokens.redeem(late))).toBeInstanceOf(UnauthorizedError)
    }))

  it.effect("fails alike for unknown, used and expired tokens", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      const expired = yield* issue(tokens)
      yield* TestClock.adjust("2 hours")
      const used = yield* issue(tokens)
      yield* tokens.redeem(used)
      const failures = yield* Effect.forEach([expired, used, "f".repeat(128)], (token) =>
        Effect.flip(tokens.redeem(token)))
      expect(
        new Set(failures.map(({ message }) =>
          message
        )).size
      ).toBe(1)
    }))

  it.effect("rejects a pattern that does not compile, and counts no token for it", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 1 })
      const failure = yield* Effect.flip(issue(tokens, "joe", "..*{34}"))
      expect(failure).toBeInstanceOf(InternalError)
      yield* issue(tokens)
    }))

  it.effect("issues at most maxAccessTokens tokens, until one is used or expires", () =>
    Effect.gen(function*() {
      const tokens = yield* make({ maxAccessTokens: 2 })
      const first = yield* issue(tokens)
      yield* TestClock.adjust("30 minutes")
      yield* issue(tokens)
      const failure = yield* Effect.flip(issue(tokens))
      expect(failure).toBeInstanceOf(InternalError)
      expect(failure.code).toBe(597)
      yield* tokens.redeem(first)
      yield* TestClock.adjust("15 minutes")
      yield* issue(tokens)
      yield* Effect.flip(issue(tokens))
      // The second one's hour is over, the third one's is not.
      yield* TestClock.adjust("45 minutes")
      yield* issue(tokens)
      yield* Effect.flip(issue(tokens))
    }))

  it.effect("drops those that expire together a hundred at a time, and none of them is valid meanwhile", () =>
    Effect.gen(function*() {
      let deleted = 0
      const tokens = yield* make({
        maxAccessTokens: 250,
        journal: { ...Journal.none, deleted: () => void deleted++ }
      })
      const [first, ...others] = yield* Effect.replicateEffect(issue(tokens), 250)
      yield* TestClock.adjust("1 hour")
      expect(yield* tokens.revoke("ann")).toBe(0)
      yield* issue(tokens, "ann")
      expect(deleted).toBe(100)
      for (const token of [first!, others.at(-1)!]) {
        expect(yield* Effect.flip(tokens.redeem(token))).toBeInstanceOf(UnauthorizedError)
      }
      expect(deleted).toBe(250)
      expect(yield* tokens.revoke("ann")).toBe(1)
    }))

  it.effect("counts none that has expired as revoked", () =>
    Effect.gen(function*() {
      const tokens = yield* make()
      yield* Effect.replicateEffect(issue(tokens), 3)
      yield* TestClock.adjust("1 hour")
      expect(yield* tokens.revoke("joe")).toBe(0)
    }))

  it.effect.prop(
    "a token is valid exactly while it is unused, younger than its time to live, and what it grants has not ended",
    [
      Arbitrary.array(step, { maxLength: 40 })
    ],
    ([steps]) =>
      Effect.gen(function*() {
        const tokens = yield* make({ maxAccessTokens: 5 })
        const issued: Array<{ readonly token: string; readonly until: number; used: boolean }> = []
        let now = 0
        const isGood = (one: typeof issued[number]) => !one.used && now < one.until
        for (const step of steps) {
          switch (step.do) {
            case "issue": {
              const hasRoom = issued.filter(isGood).length < 5
              const token = yield* Effect.option(tokens.issue("joe", ".*", { expiresIn: step.minutes * 60_000 }))
              expect(token._tag).toBe(hasRoom ? "Some" : "None")
              if (token._tag === "Some") {
                issued.push({
                  token: Redacted.value(token.value),
                  until: now + Math.min(60, step.minutes),
                  used: false
                })
              }
              break
            }
            case "redeem": {
              const one = issued[step.which]
              if (one === undefined) break
              const permission = yield* Effect.option(tokens.redeem(one.token))
              expect(permission._tag).toBe(isGood(one) ? "Some" : "None")
              one.used = true
              break
            }
            case "wait":
              now += step.minutes
              yield* TestClock.adjust(Duration.minutes(step.minutes))
          }
        }
      })
  )

  it.effect.prop("rejects every token that was not issued", [garbage], ([text]) =>
    Effect.gen(function*() {
      const tokens = yield* make()
      yield* issue(tokens)
      expect(yield* Effect.flip(tokens.redeem(text))).toBeInstanceOf(UnauthorizedError)
    }))
})
