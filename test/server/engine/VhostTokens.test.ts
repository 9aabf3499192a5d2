import { describe, expect, it } from "@effect/vitest"
import { Redacted, Result } from "effect"
import { InvalidVhostTokenError } from "../../../src/server/BrokerError.ts"
import * as VhostTokens from "../../../src/server/engine/VhostTokens.ts"

const a = "a".repeat(40)
const b = "b".repeat(40)
const c = "c".repeat(40)

const secrets = (...tokens: ReadonlyArray<string>) => tokens.map((token) => Redacted.make(token))
const texts = (tokens: ReadonlyArray<Redacted.Redacted>) => tokens.map(Redacted.value)

const failure = <A>(result: Result.Result<A, InvalidVhostTokenError>) => {
  const error = Result.getOrThrow(Result.flip(result))
  expect(error).toBeInstanceOf(InvalidVhostTokenError)
  for (const token of [a, b, c]) expect(JSON.stringify(error) + error.message).not.toContain(token)
  return error.detail
}

describe("VhostTokens", () => {
  it("are the same objects until they are removed", () => {
    const own = VhostTokens.make(secrets(a, a))
    const old = own.find(Redacted.make(a))!
    expect(own.set(secrets(a, b))).toEqual([])
    expect([texts(own.list()), own.find(Redacted.make(a)) === old, own.find(Redacted.make(c))]).toEqual([
      [a, b],
      true,
      undefined
    ])
    expect(own.set(secrets(b))).toEqual([old])
    expect([texts(own.list()), old.isRemoved(), own.find(Redacted.make(a))]).toEqual([[b], true, undefined])
    // Another one of the same text is not the one that was removed.
    own.set(secrets(b, a))
    expect([old.isRemoved(), own.find(Redacted.make(a)) === old]).toEqual([true, false])
    expect(own.set(secrets(c)).map(({ value }) => Redacted.value(value))).toEqual([b, a])
  })

  it("get a random one by default, none twice, and no more than ten", () => {
    const added = (tokens: ReadonlyArray<Redacted.Redacted>, token?: string) =>
      Result.getOrThrow(VhostTokens.adding("/a", tokens, token)).tokens
    let tokens = added(secrets(a))
    expect(Redacted.value(tokens[1]!)).toMatch(/^[0-9a-f]{40}$/)
    expect(added(tokens, a)).toBe(tokens)
    for (let n = 2; n < 10; n++) tokens = added(tokens)
    expect(failure(VhostTokens.adding("/a", tokens, b))).toContain("10")
    expect(added(tokens, a)).toBe(tokens)
    tokens = Result.getOrThrow(VhostTokens.removing("/a", tokens, a)).tokens
    expect(Redacted.value(added(tokens, b)[9]!)).toBe(b)
  })

  it("keep the only one, and refuse what is no token", () => {
    const tokens = secrets(a)
    expect(failure(VhostTokens.removing("/a", tokens, a))).toContain("no other")
    expect(Result.getOrThrow(VhostTokens.removing("/a", tokens, b))).toEqual({ tokens, value: false })
    for (const bad of ["", "a".repeat(39), "a".repeat(41), `${"a".repeat(39)} `]) {
      expect(failure(VhostTokens.adding("/a", tokens, bad))).toContain("40 letters")
    }
  })
})
