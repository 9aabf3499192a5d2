import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Json from "../../src/protocol/Json.ts"
import { anyText, garbage, int, json, jsonObject, key, oddKeys, oneOf, pick } from "./arbitraries.ts"

const nested = (depth: number, [open, close] = ["[", "]"]) => open.repeat(depth) + close.repeat(depth)

/** Objects in objects, whose last one is empty. */
const nestedObjects = (depth: number) => `{"a":`.repeat(depth - 1) + "{}" + "}".repeat(depth - 1)

const depthOf = (value: unknown): number =>
  typeof value !== "object" || value === null
    ? 0
    : 1 + Object.values(value).reduce((most, one) => Math.max(most, depthOf(one)), 0)

const parses = (text: string) => Result.isSuccess(Json.parse(text))

describe("Json", () => {
  it.prop("is read as it was written", [json], ([value]) => {
    const written = Result.getOrThrow(Json.stringify(value))
    expect(written).toBe(JSON.stringify(value))
    expect(JSON.stringify(Result.getOrThrow(Json.parse(written)))).toBe(written)
  })

  it.prop("is read wherever a text is JSON and nowhere else", [garbage], ([text]) => {
    const expected = Result.try(() => JSON.parse(text) as unknown)
    const actual = Json.parse(text)
    expect(Result.isSuccess(actual)).toBe(Result.isSuccess(expected))
    if (Result.isSuccess(actual)) expect(actual).toEqual(expected)
  }, { arbitrary: { runs: 300 } })

  it.prop("counts as the empty object where it is not an object", [garbage], ([text]) => {
    const value = Result.getOrUndefined(Json.parse(text))
    expect(Json.parseObjectOrEmpty(text)).toEqual(Json.isObject(value) ? value : {})
  }, { arbitrary: { runs: 300 } })

  it.each([
    ["an object", `{"what":"world"}`, { what: "world" }],
    ["the empty object", `{}`, {}],
    ["white space around it", ` \n{"a":1}\t`, { a: 1 }],
    ["an array", `[{"a":1}]`, {}],
    ["null", `null`, {}],
    ["a text", `"{}"`, {}],
    ["a number", `1`, {}],
    ["nothing", ``, {}],
    ["no JSON", `not json`, {}],
    ["JSON with something after it", `{"a":1}x`, {}],
    ["what is nested too deeply", nestedObjects(300), {}]
  ])("reads broadcast data from %s", (_, text, data) => {
    expect(Json.parseObjectOrEmpty(text)).toEqual(data)
  })

  it.each<[unknown, boolean]>([
    [{}, true],
    [Object.create(null), true],
    [[], false],
    [null, false],
    [undefined, false],
    ["{}", false],
    [
      1,
      false
    ],
    [true, false]
  ])("tells whether %j is an object", (value, expected) => {
    expect(Json.isObject(value)).toBe(expected)
  })

  // --- Depth ---------------------------------------------------------------------------------------------------------

  it.each([
    ["arrays", nested(256)],
    ["objects", nestedObjects(256)],
    ["arrays in a long text", `[${nested(255)},"${"x".repeat(1000)}"]`],
    ["arrays after white space", " ".repeat(1000) + nested(256)],
    ["objects and arrays in turn", `{"a":[`.repeat(128) + "]}".repeat(128)],
    ["many shallow arrays", `[${Array.from({ length: 10_000 }, () => "[[]]").join()}]`]
  ])("reads and writes again up to 256 levels: %s", (_, text) => {
    const value = Result.getOrThrow(Json.parse(text))
    expect(depthOf(value)).toBeLessThanOrEqual(Json.maxDepth)
    expect(Result.getOrThrow(Json.stringify(value))).toBe(text.trim())
  })

  it.each([
    ["257 arrays", nested(257)],
    ["257 objects", nestedObjects(257)],
    ["300 arrays", nested(300)],
    ["300 objects", nestedObjects(300)],
    ["100 000 arrays", nested(100_000)],
    ["100 000 objects", nestedObjects(100_000)],
    ["100 000 arrays that are not closed", "[".repeat(100_000)],
    ["100 000 objects that are not closed", `{"a":`.repeat(100_000)],
    ["300 arrays after a text with brackets", `["]]]]]]]]\\"]]]",${nested(300)}]`],
    ["300 arrays after a text that ends with a backslash", `["\\\\",${nested(300)}]`],
    ["300 arrays after closed ones", `[${nested(200)},${nested(200)},${nested(300)}]`]
  ])("fails for what is nested deeper than 256 levels: %s", (_, text) => {
    const result = Json.parse(text)
    expect(Result.isFailure(result)).toBe(true)
    expect(String(Result.getOrThrow(Result.flip(result)))).toContain("nested deeper than 256 levels")
  })

  it("reads what is nested deeper where it is told how deeply", () => {
    expect(Result.isSuccess(Json.parse(nested(259), 259))).toBe(true)
    expect(String(Result.getOrThrow(Result.flip(Json.parse(nested(260), 259))))).toContain("259 levels")
  })

  it.each([
    ["opening ones", `"${"[{".repeat(1000)}"`],
    ["closing ones", `"${"}]".repeat(1000)}"`],
    ["after an escaped quote", `"\\"${"[".repeat(1000)}\\""`],
    ["after escaped backslashes", `["\\\\\\"${"[".repeat(1000)}","\\\\"]`],
    ["in a key", `{"${"[".repeat(1000)}":1}`],
    ["in many texts", JSON.stringify(Array.from({ length: 1000 }, () => "[\"\\{"))]
  ])("does not count brackets in texts: %s", (_, text) => {
    expect(Json.parse(text)).toEqual(Result.succeed(JSON.parse(text)))
  })

  const bracketed = Arbitrary.map(
    Arbitrary.all([
      int(240, 265),
      Arbitrary.array(pick(["[", "]", "{", "}", "\"", "\\", "\\\"", "x"]), { maxLength: 30 }),
      pick([0, 1])
    ]),
    ([depth, pieces, kind]): unknown => {
      const text = pieces.join("")
      let value: unknown = [text, { [text]: text }]
      for (let level = 2; level < depth; level++) value = (level + kind) % 2 === 0 ? [text, value] : { [text]: value }
      return value
    }
  )
  it.prop("reads exactly what is nested up to 256 levels, whatever its texts hold", [bracketed], ([value]) => {
    expect(parses(JSON.stringify(value))).toBe(depthOf(value) <= 256)
  })

  // --- Writing -------------------------------------------------------------------------------------------------------

  const cycle: Record<string, unknown> = {}
  cycle.self = { cycle }
  let deep: unknown = {}
  for (let level = 0; level < 100_000; level++) deep = { deep }

  it.each<[string, unknown]>([
    ["a cycle", cycle],
    ["a big integer", { n: 1n }],
    ["a function", () => 1],
    ["a symbol", Symbol("a")],
    ["undefined", undefined],
    ["what throws when it is written", {
      toJSON: () => {
        throw new Error("no")
      }
    }],
    ["what is nested beyond the stack", deep]
  ])("fails for %s without throwing", (_, value) => {
    const result = Json.stringify(value)
    expect(Result.isFailure(result)).toBe(true)
    expect(Result.getOrThrow(Result.flip(result))).toBeInstanceOf(Error)
  })

  it.prop("is written as well-formed text", [jsonObject], ([value]) => {
    expect(Result.getOrThrow(Json.stringify(value)).isWellFormed()).toBe(true)
  })

  // --- One key -------------------------------------------------------------------------------------------------------

  it.prop("has one key whose value is an object", [key, jsonObject], ([name, payload]) => {
    const read = Json.single(Json.parseObjectOrEmpty(JSON.stringify(Object.fromEntries([[name, payload]]))))
    expect(JSON.stringify(read)).toBe(JSON.stringify([name, payload]))
  })

  it.prop("has not one key whose value is an object where it has more or fewer", [jsonObject], ([value]) => {
    const values = Object.values(value)
    expect(Json.single(value) !== undefined).toBe(values.length === 1 && Json.isObject(values[0]))
  })

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["an array", [{}]],
    ["a text", "a"],
    ["no key", {}],
    ["two keys", { a: {}, b: {} }],
    ["a text as the value", { a: "b" }],
    ["an array as the value", { a: [] }],
    ["null as the value", { a: null }]
  ])("has not one key whose value is an object in %s", (_, value) => {
    expect(Json.single(value)).toBeUndefined()
  })

  // --- Odd keys ------------------------------------------------------------------------------------------------------

  it.each(oddKeys)("has the key %j like any other", (key) => {
    const text = `{${JSON.stringify(key)}:{"polluted":true}}`
    const value = Json.parseObjectOrEmpty(text)
    expect(Object.keys(value)).toEqual([key])
    expect(Result.getOrThrow(Json.stringify(value))).toBe(text)
    expect(Result.getOrThrow(Json.stringify({ ...value }))).toBe(text)
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    const [name, payload] = Json.single(value)!
    expect(name).toBe(key)
    expect(Object.entries(payload)).toEqual([["polluted", true]])
    expect("polluted" in {}).toBe(false)
  })

  it.prop("is read from anything without throwing", [oneOf(garbage, anyText)], ([text]) => {
    Json.parse(text)
    Json.single(Json.parseObjectOrEmpty(text))
  })
})
