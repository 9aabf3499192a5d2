import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import v8 from "node:v8"
import vm from "node:vm"
import { InternalError } from "../../../src/protocol/KosmonautError.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import { cpuTime } from "../../harness/cpuTime.ts"
import { channel, garbage, oneOf, pick, piecesOf } from "../../protocol/arbitraries.ts"

const allows = (pattern: string, name: string) => Result.getOrThrow(Permission.make("joe", pattern)).allows(name)

const failureOf = (pattern: string) => Result.getOrThrow(Result.flip(Permission.make("joe", pattern)))

/** A pattern that means the same to RE2 and to JavaScript. */
const simplePattern = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.array(
      Arbitrary.map(
        Arbitrary.all([pick(["a", "b", "-", ".", "[ab]", "(?:ab|b)", "\\w"]), pick(["", "", "*", "+?", "?", "{1,2}"])]),
        (atom) => atom.join("")
      ),
      { maxLength: 4 }
    ),
    { minLength: 1, maxLength: 3 }
  ),
  (branches) => branches.map((atoms) => atoms.join("")).join("|")
)

describe("Permission", () => {
  it("keeps the user's id unchanged", () => {
    expect(Result.getOrThrow(Permission.make(" ż:é 1", ".*")).uid).toBe(" ż:é 1")
  })

  it.each([
    [".*", "room", true],
    [".*", "presence-a.b_c-d", true],
    ["room", "room", true],
    ["room", "rooms", false],
    ["room", "my-room", false],
    ["room", "Room", false],
    ["(?i)room", "ROOM", true],
    ["presence-.+", "presence-a", true],
    ["presence-.+", "presence-", false],
    // The pattern is one whole: neither half of an alternation may float at one end.
    ["room|private-.*", "room", true],
    ["room|private-.*", "private-a", true],
    ["room|private-.*", "roommate", false],
    ["room|private-.*", "not-private-a", false],
    ["^room$", "room", true],
    ["(?P<kind>private|presence)-\\pL+", "private-ż", true],
    ["[[:alpha:]]+", "abc", true],
    ["a.c", "abc", true],
    ["a\\.c", "abc", false],
    ["", "room", false]
  ])("%j on %j: %j", (pattern, name, expected) => {
    expect(allows(pattern, name)).toBe(expected)
  })

  it.each([
    ["what the original refuses", "..*{34}"],
    ["an open group", "(room"],
    ["a closed group", "room)"],
    ["two halves that only parentheses around would make whole", "a)|(b"],
    ["an open class", "[a-"],
    ["nothing to repeat", "*"],
    ["a lone escape", "room\\"],
    ["a back reference", "(a)\\1"],
    ["a look ahead", "a(?=b)"],
    ["a repetition that is too large", "a{100000}"],
    ["repetitions of repetitions", "((a{100}){100}){100}"],
    ["a pattern longer than 1000 characters", "a".repeat(1001)],
    ["a repetition of much", "(a{1000}){1000}"],
    ["a long text, repeated", `(${"a".repeat(990)}){1000}`],
    ["a long text, repeated at least so often", `(${"[)]a".repeat(200)}){1000,}`],
    ["optional ones, each followed by as many others", "(a?){1000}a{0,900}b"],
    ["many classes of Unicode, of hundreds of ranges each", "\\pL".repeat(300)],
    ["many of them in other classes", "[^\\pL\\pN]".repeat(20)],
    ["classes that are large", `[^${"a-z0-9".repeat(10)}]{600}{2}`]
  ])("rejects %s", (_, pattern) => {
    const failure = failureOf(pattern)
    expect(failure).toBeInstanceOf(InternalError)
    expect(failure.code).toBe(597)
  })

  it("accepts a pattern of 1000 characters", () => {
    expect(allows("a".repeat(1000), "a")).toBe(false)
  })

  it("rejects a pattern that is too large without compiling it, with the reason", () => {
    const start = cpuTime()
    for (let n = 0; n < 100; n++) expect(failureOf(`(${"a".repeat(990)}){1000}`).detail).toContain("too large")
    // To compile one alone would take longer.
    expect(cpuTime() - start).toBeLessThan(300)
  })

  it.each([
    ["quoted text", "\\Q(a{9}\\E{20}"],
    ["a class with a parenthesis", "([)]a{10}){10}"],
    ["a class that begins with a bracket", "[]a]{100}"],
    ["a named class", "[[:alpha:](]{500}"],
    ["an escaped brace", "a\\{1000}\\{1000}"],
    ["a letter class", "\\pL{1000}"],
    ["some letter classes", "(?i)[\\pL\\pN_-]{1,64}-[\\pL\\pN]+"]
  ])("accepts %s", (_, pattern) => {
    expect(Result.isSuccess(Permission.make("joe", pattern))).toBe(true)
  })

  it("rejects a user id longer than 1000 characters", () => {
    const failure = Result.getOrThrow(Result.flip(Permission.make("u".repeat(1001), ".*")))
    expect(failure).toBeInstanceOf(InternalError)
    expect(failure.code).toBe(597)
    expect(Result.getOrThrow(Permission.make("u".repeat(1000), ".*")).uid).toBe("u".repeat(1000))
  })

  it.each([
    ["nested stars", "((a*)*)*b"],
    ["alternatives that overlap", "(a|aa)+b"],
    ["as many stars as fit", `${"a*".repeat(499)}b`],
    ["repetitions that are just small enough", "(a?){150}a{0,150}b"]
  ])("matches %s in time linear in the name", (_, pattern) => {
    const { allows } = Result.getOrThrow(Permission.make("joe", pattern))
    const name = "a".repeat(255)
    const start = cpuTime()
    expect(allows(name)).toBe(false)
    // A backtracking engine would take longer than the world has existed.
    expect(cpuTime() - start).toBeLessThan(1000)
  })

  it("takes no more memory than it says, whatever names it is matched with", () => {
    v8.setFlagsFromString("--expose-gc")
    const collect = vm.runInNewContext("gc") as () => void
    const used = () => {
      collect()
      const { arrayBuffers, heapUsed } = process.memoryUsage()
      return arrayBuffers + heapUsed
    }
    // Names that meet another state of the first pattern with almost each letter.
    const names = Array.from(
      { length: 200 },
      (_, n) => Array.from({ length: 200 }, (_, at) => (n * n + at * at * at + n * at) % 7 < 3 ? "a" : "b").join("")
    )
    const patterns = (n: number) => [`(a|b)*a(a|b){14}-${n}`, `[\\pL\\pN_-]{1,400}${n}`, `(a?){1,90}[^c]*b?${n}`]
    const matched = (n: number) =>
      patterns(n).map((pattern) => {
        const compiled = Result.getOrThrow(Permission.compile(pattern))
        names.forEach(compiled.allows)
        return compiled
      })
    // What the package makes once.
    matched(99)
    const before = used()
    const all = Array.from({ length: 8 }, (_, n) => matched(n)).flat()
    const said = all.reduce((sum, { bytes }) => sum + bytes, 0)
    expect(used() - before).toBeLessThan(said)
    // And that is not much.
    expect(said / all.length).toBeLessThan(700_000)
  })

  it.prop("a quoted name allows that name alone", [channel, channel], ([name, other]) => {
    const pattern = name.replaceAll(/[.-]/g, "\\$&")
    expect(allows(pattern, name)).toBe(true)
    expect(allows(pattern, other)).toBe(name === other)
  })

  it.prop(
    "means what the same pattern means between ^( and )$",
    [simplePattern, piecesOf(["a", "b", "-"], 5)],
    ([pattern, name]) => {
      expect(allows(pattern, name)).toBe(new RegExp(`^(?:${pattern})$`).test(name))
    },
    { arbitrary: { runs: 500 } }
  )

  it.prop(
    "any text is a permission or a typed error",
    [
      oneOf(garbage, piecesOf(["(", ")", "[", "]", "{", "}", "?", "*", "+", "\\", "|", "^", "$", "9", "a", ":"], 12)),
      channel
    ],
    ([pattern, name]) => {
      const permission = Permission.make("joe", pattern)
      if (Result.isSuccess(permission)) expect(typeof permission.success.allows(name)).toBe("boolean")
      else expect(permission.failure).toBeInstanceOf(InternalError)
    },
    { arbitrary: { runs: 500 } }
  )
})
