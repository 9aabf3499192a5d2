import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import * as Permission from "../../../../src/server/domain/Permission.ts"
import * as Patterns from "../../../../src/server/engine/internal/patterns.ts"

const compiledBy = (patterns: Patterns.Patterns) => (pattern: string) => Result.getOrThrow(patterns(pattern))

describe("patterns", () => {
  it("compiles each once", () => {
    const compiled = compiledBy(Patterns.make())
    expect(compiled("a.*")).toBe(compiled("a.*"))
    expect(compiled("a.*")).not.toBe(compiled("b.*"))
    expect([compiled("a.*").allows("ab"), compiled("b.*").allows("ab")]).toEqual([true, false])
  })

  it("evicts the least recently used beyond its capacity, in bytes", () => {
    const pattern = (letter: string) => `${letter}{500}`
    const { bytes } = Result.getOrThrow(Permission.compile(pattern("a")))
    const compiled = compiledBy(Patterns.make(3 * bytes))
    const [a, b, c] = ["a", "b", "c"].map((letter) => compiled(pattern(letter)))
    expect(compiled(pattern("a"))).toBe(a)
    compiled(pattern("d"))
    expect(compiled(pattern("a"))).toBe(a)
    expect(compiled(pattern("c"))).toBe(c)
    expect(compiled(pattern("b"))).not.toBe(b)
  })

  it("fails each time for an invalid pattern", () => {
    const patterns = Patterns.make()
    for (let n = 0; n < 2; n++) expect(Result.isFailure(patterns("("))).toBe(true)
  })
})
