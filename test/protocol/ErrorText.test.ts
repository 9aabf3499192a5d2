import { describe, expect, it } from "@effect/vitest"
import { messageOf } from "../../src/protocol/ErrorText.ts"
import { ListenError } from "../../src/transport/TransportServer.ts"

describe("what was thrown, in words", () => {
  it.each<[string, unknown, string]>([
    ["the message of an error", new TypeError("no"), "no"],
    ["a text as it is", "why", "why"],
    ["any other value as Effect formats it", { code: 1 }, `{"code":1}`],
    ["something that has no form as a text", Object.create(null), "{}"],
    ["something whose form as a text fails", { toString: () => expect.fail() }, "[toString threw]"],
    ["nothing", undefined, "undefined"]
  ])("is %s", (_, thrown, message) => {
    expect(messageOf(thrown)).toBe(message)
    const { message: listening } = new ListenError({ endpoint: "browsers", host: "::1", port: 0, cause: thrown })
    expect(listening).toMatch(/^Cannot listen on ::1:0 for browsers: ./)
  })
})
