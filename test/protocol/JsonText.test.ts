import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Json from "../../src/protocol/Json.ts"
import * as JsonScanner from "../../src/protocol/JsonScanner.ts"
import * as JsonText from "../../src/protocol/JsonText.ts"
import { cpuTime } from "../harness/cpuTime.ts"
import { anyText, costly, garbage, key, oddKeys, oneOf, pick, piecesOf } from "./arbitraries.ts"

// --- JSON as others write it: white space, names spelled with escapes, names that occur twice ---------------------------

const space = piecesOf([" ", "\n", "\t", "\r"], 2)

/** A text of JSON, spelled in one way or another. */
const spelled = (text: string): Arbitrary.Arbitrary<string> =>
  pick([
    JSON.stringify(text),
    `"${
      Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("")
    }"`
  ])

const name = oneOf(pick(["data", "channel", "sid", "event", "dat", "a\\\"b", "\n"]), pick(oddKeys), key)

const number = pick(["0", "-0", "1.0", "1e400", "9007199254740993", "-1.5E+10"])

const scalar = oneOf(
  number,
  pick(["true", "false", "null"]),
  Arbitrary.flatMap(anyText, spelled),
  pick([`"]}"`, `"\\""`])
)

const objectOf = (value: Arbitrary.Arbitrary<string>): Arbitrary.Arbitrary<string> =>
  Arbitrary.map(
    Arbitrary.all([
      Arbitrary.array(Arbitrary.all([Arbitrary.flatMap(name, spelled), space, value]), { maxLength: 5 }),
      space
    ]),
    ([members, space]) =>
      `{${space}${members.map(([name, space, value]) => `${name}${space}:${space}${value}${space}`).join(`,${space}`)}}`
  )

const arrayOf = (value: Arbitrary.Arbitrary<string>): Arbitrary.Arbitrary<string> =>
  Arbitrary.map(
    Arbitrary.all([Arbitrary.array(value, { maxLength: 3 }), space]),
    ([values, space]) => `[${space}${values.join(`${space},${space}`)}${space}]`
  )

const value = oneOf(scalar, objectOf(scalar), arrayOf(objectOf(scalar)), objectOf(arrayOf(scalar)))

const object = objectOf(value)

/** What `JSON.parse` makes of a text, as text again, so that names like `__proto__` count. */
const normal = (text: string) => JSON.stringify(JSON.parse(text))

const parse = (text: string) => JSON.parse(text) as Json.JsonObject

/** The names in an object, in their order, also those that are there twice. */
const namesOf = (object: string) => {
  const names: Array<unknown> = []
  JsonScanner.walk(object, 0, (from, to, value) => {
    names.push(JSON.parse(object.slice(from, to)))
    return JsonScanner.endOfValue(object, value)
  })
  return names
}

const checked = (text: string) => JsonText.objectOrEmpty(text)

describe("JsonText", () => {
  it.prop("finds the value that JSON.parse finds, as it was written", [name, name, object, object, space], ([
    event,
    wanted,
    payload,
    other,
    space
  ]) => {
    const name = JSON.stringify(event)
    for (
      const message of [
        `${space}{${space}${name}${space}:${space}${payload}${space}}${space}`,
        `{${name}:${other},${space}${name}:${payload}}`
      ]
    ) {
      const expected = Object.entries(parse(payload)).find(([key]) => key === wanted)
      const found = JsonText.payloadValue(message, wanted)
      expect(found === undefined ? undefined : normal(found)).toBe(expected && JSON.stringify(expected[1]))
      if (found !== undefined) {
        expect(found.trim()).toBe(found)
        expect(payload).toContain(found)
      }
    }
  }, costly(200))

  it.prop("finds the same for every name of a payload", [object], ([payload]) => {
    for (const [key, expected] of Object.entries(parse(payload))) {
      expect(normal(JsonText.payloadValue(`{"e":${payload}}`, key)!)).toBe(JSON.stringify(expected))
    }
  }, costly(120))

  it.prop("has the elements of an array", [Arbitrary.array(value, { maxLength: 4 }), space], ([values, space]) => {
    const array = `${space}[${space}${values.join(`${space},${space}`)}${space}]${space}`
    expect(JsonText.elements(array)).toEqual(values)
  }, costly(120))

  it.prop(
    "extends an object, and what is new counts",
    [object, pick(["channel", "uid"]), anyText],
    ([text, name, more]) => {
      const extended = JsonText.extend(checked(text), { [name]: more, sid: "s" })
      const expected = { ...parse(text), ...parse(`{${JSON.stringify(name)}:${JSON.stringify(more)}}`), sid: "s" }
      expect(entries(parse(extended))).toEqual(entries(expected))
      // Nobody who takes the first of two finds a forged one.
      const names = namesOf(extended)
      expect([name, "sid"].map((own) => names.filter((one) => one === own).length)).toEqual([1, 1])
    },
    costly(120)
  )

  it.prop("merges objects, and the second counts", [object, object], ([first, second]) => {
    const { text } = JsonText.merge(checked(first), checked(second))
    expect(entries(parse(text))).toEqual(entries({ ...parse(first), ...parse(second) }))
    expect(text.startsWith("{") && text.endsWith("}")).toBe(true)
  }, costly(120))

  it.each([
    [`{"n":9007199254740993}`, `{"n":9007199254740993,"sid":"s"}`],
    [`{"sid":"forged","n":1e400}`, `{"n":1e400,"sid":"s"}`],
    [`{"n":1.0,"s\\u0069d":{"a":"}"},"m":-0}`, `{"n":1.0,"m":-0,"sid":"s"}`],
    [`{"a":{"sid":1}}`, `{"a":{"sid":1},"sid":"s"}`],
    [`{ "sid":1 }`, `{"sid":"s"}`],
    [`{}`, `{"sid":"s"}`],
    [`{ }`, `{"sid":"s"}`]
  ])("extends %s and keeps numbers as they were written", (text, expected) => {
    expect(JsonText.extend(new JsonText.ObjectText(text), { sid: "s" })).toBe(expected)
  })

  it.prop("is one line, which begins and ends with a brace", [object], ([text]) => {
    const one = checked(`\n${text}\r\n`)
    expect(normal(one.text)).toBe(normal(text))
    expect(one.text).toMatch(/^\{[^\r\n]*\}$/)
  })

  it.prop("counts as {} where it is not an object", [garbage], ([text]) => {
    const value = Result.getOrUndefined(Json.parse(text))
    expect(normal(checked(text).text)).toBe(JSON.stringify(Json.isObject(value) ? value : {}))
  }, costly(120))

  it.prop("is made of anything without throwing, in linear time", [garbage], ([text]) => {
    for (const any of [text, `{"e":${text}`, `{"e":{"data":${text}`, text.repeat(50)]) {
      JsonText.payloadValue(any, "data")
      JsonText.elements(any)
      JsonText.extend(new JsonText.ObjectText(any), { sid: "s" })
      JsonText.merge(new JsonText.ObjectText(any), new JsonText.ObjectText(text))
      JsonScanner.isDeeperThan(any, 3)
    }
  }, costly(120))

  it.each([
    ["escaped quotes", `{"e":{"data":{"a":"${"\\\"".repeat(500_000)}"}}}`],
    ["backslashes", `{"e":{"data":{"a":"${"\\\\".repeat(500_000)}"}}}`],
    ["many names", `{"e":{${Array.from({ length: 100_000 }, (_, n) => `"${n}":1`).join()},"data":{}}}`],
    ["many texts", `{"e":{"data":{"a":[${Array.from({ length: 200_000 }, () => `"a"`).join()}]}}}`],
    ["many numbers", `{"e":{"data":{"a":[${Array.from({ length: 200_000 }, () => "1").join()}]}}}`]
  ])("finds a value in a message of a megabyte at once: %s", (_, message) => {
    const begin = cpuTime()
    const found = JsonText.payloadValue(message, "data")!
    expect(cpuTime() - begin).toBeLessThan(1000)
    expect(normal(found)).toBe(JSON.stringify((JSON.parse(message) as Record<string, Json.JsonObject>).e!.data))
  })
})

const entries = (object: Json.JsonObject) => Object.entries(object).toSorted(([a], [b]) => a < b ? -1 : 1)
