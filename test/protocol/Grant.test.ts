import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import * as Grant from "../../src/protocol/Grant.ts"
import { garbage, jsonObject } from "./arbitraries.ts"

const joe = { uid: "joe", pattern: ".*" }

describe("Grant", () => {
  it.each<[string, string | Grant.Options]>([
    ["the user id is empty", { ...joe, uid: "" }],
    ["the pattern is empty", { ...joe, pattern: "" }],
    ["a token subscribes to at most 100 channels", {
      ...joe,
      channels: Array.from({ length: 101 }, (_, n) => `a${n}`)
    }],
    ["a token cannot subscribe to \"a b\": it is no channel name", { ...joe, channels: ["a", "a b"] }],
    ["info has at most 4096 bytes of JSON", { ...joe, info: { text: "ż".repeat(2048) } }],
    ["info cannot be written as a JSON object", { ...joe, info: [1] }],
    ["info cannot be written as a JSON object", { ...joe, info: { n: 1n } }],
    ["expiresIn is 1 to 2592000000 milliseconds", { ...joe, expiresIn: 0 }],
    ["expiresIn is 1 to 2592000000 milliseconds", { ...joe, expiresIn: "31 days" }],
    ["expiresIn is 1 to 2592000000 milliseconds", { ...joe, expiresIn: NaN }]
  ])("is not made: %s", (problem, options) => {
    expect(Grant.make(options as Grant.Options)).toEqual(Result.fail(problem))
  })

  it("is made up to its limits", () => {
    const largest = {
      ...joe,
      channels: Array.from({ length: 100 }, (_, n) => `a${n}`),
      info: { text: "a".repeat(4096 - `{"text":""}`.length) },
      expiresIn: "30 days"
    } as const
    const grant = Result.getOrThrow(Grant.make(largest))
    expect(Grant.decode(Grant.encode(grant))).toEqual(grant)
  })

  it.each([
    "",
    "[]",
    "null",
    `{"uid":"joe"}`,
    `{"pattern":".*"}`,
    `{"uid":"","pattern":".*"}`,
    `{"uid":1,"pattern":".*"}`,
    `{"uid":"joe","pattern":".*","channels":"a"}`,
    `{"uid":"joe","pattern":".*","channels":[1]}`,
    `{"uid":"joe","pattern":".*","channels":[":a"]}`,
    `{"uid":"joe","pattern":".*","info":[]}`,
    `{"uid":"joe","pattern":".*","info":null}`,
    `{"uid":"joe","pattern":".*","expiresIn":"1"}`,
    `{"uid":"joe","pattern":".*","expiresIn":0}`,
    `{"uid":"joe","pattern":".*","expiresIn":2592000001}`,
    `{"uid":"joe","pattern":".*","readOnly":true}`
  ])("is not read: %s", (text) => {
    expect(Grant.decode(text)).toBeUndefined()
  })

  it.prop("never throws", [garbage, jsonObject], ([text, object]) => {
    Grant.decode(text)
    Grant.decode(JSON.stringify({ ...joe, ...object }))
  })
})
