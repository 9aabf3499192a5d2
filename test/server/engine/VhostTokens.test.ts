import { describe, expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { InvalidVhostTokenError } from "../../../src/server/BrokerError.ts"
import * as VhostTokens from "../../../src/server/engine/VhostTokens.ts"

const a = "a".repeat(40)
const b = "b".repeat(40)
const c = "c".repeat(40)

const make = (...tokens: ReadonlyArray<string>) => {
  const recorded: Array<ReturnType<VhostTokens.VhostTokens["stored"]>> = []
  const own = VhostTokens.make({
    path: "/a",
    tokens: tokens.map((token) => Redacted.make(token)),
    onChange: () => void recorded.push(own.stored())
  })
  return { own, recorded, list: () => own.list().map(Redacted.value) }
}

const failure = <A>(effect: Effect.Effect<A, InvalidVhostTokenError>) =>
  Effect.map(Effect.flip(effect), (error) => {
    expect(error).toBeInstanceOf(InvalidVhostTokenError)
    for (const token of [a, b, c]) expect(JSON.stringify(error) + error.message).not.toContain(token)
    return error.detail
  })

describe("VhostTokens", () => {
  it.effect("rotates: both are good for a while, and the first that is left is the current one", () =>
    Effect.gen(function*() {
      const { list, own } = make(a)
      const old = own.find(Redacted.make(a))!
      expect(Redacted.value(yield* own.add(b))).toBe(b)
      expect([list(), own.find(Redacted.make(a)), own.find(Redacted.make(c))]).toEqual([[a, b], old, undefined])
      expect(yield* own.remove(a)).toBe(old)
      expect([list(), old.isRemoved(), own.find(Redacted.make(a))]).toEqual([[b], true, undefined])
      // Another one of the same text is not the one that was removed.
      yield* own.add(a)
      expect([old.isRemoved(), own.find(Redacted.make(a)) === old]).toEqual([true, false])
    }))

  it.effect("adds a random one by default, none twice, and no more than ten", () =>
    Effect.gen(function*() {
      const { list, own } = make(a)
      expect(Redacted.value(yield* own.add())).toMatch(/^[0-9a-f]{40}$/)
      yield* own.add(a)
      expect(list().length).toBe(2)
      for (let n = 2; n < 10; n++) yield* own.add()
      expect(yield* failure(own.add(b))).toContain("10")
      yield* own.add(a)
      yield* own.remove(a)
      yield* own.add(b)
    }))

  it.effect("keeps the only one, and refuses what is no token", () =>
    Effect.gen(function*() {
      const { list, own } = make(a)
      expect(yield* failure(own.remove(a))).toContain("no other")
      expect(yield* own.remove(b)).toBeUndefined()
      for (const bad of ["", "a".repeat(39), "a".repeat(41), `${"a".repeat(39)} `]) {
        expect(yield* failure(own.add(bad))).toContain("40 letters")
      }
      expect(list()).toEqual([a])
    }))

  it.effect("are stored with each change, as secrets", () =>
    Effect.gen(function*() {
      const { own, recorded } = make(a, b, a)
      yield* own.add(c)
      yield* own.remove(a)
      yield* own.remove(b)
      yield* own.add(c)
      expect(JSON.stringify(recorded)).not.toContain(a)
      const read = recorded.map(({ otherTokens, token }) => [
        Redacted.value(token),
        otherTokens && Redacted.value(otherTokens)
      ])
      expect(read).toEqual([[a, `${b} ${c}`], [b, c], [c, undefined]])
    }))
})
