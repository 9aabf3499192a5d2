import { assert, describe, it } from "@effect/vitest"
import * as Retry from "../../src/protocol/Retry.ts"

const connection = "7b5d2a5e-18c8-4b0a-9a65-9f7d1d9f1c11"

describe("an idempotency key", () => {
  it.each([
    ["no message", "", connection, false],
    ["a message of one character", "a", connection, true],
    ["the longest message", "a".repeat(16), connection, true],
    ["a message too long", "a".repeat(17), connection, false],
    ["a connection too short", "a", connection.slice(1), false],
    ["a connection too long", "a", `${connection}0`, false],
    ["a connection that is no uuid", "a", ":".repeat(36), false]
  ])("is one of ours or not: %s", (_, message, connection, isOurs) => {
    assert.strictEqual(Retry.isKey({ connection, message }), isOurs)
  })

  it("goes before the request, which is the same after it", () => {
    const frames = Retry.encode({ connection, message: "a" }, ["OC", "room"])
    assert.isTrue(Retry.isRetry(frames))
    assert.deepStrictEqual(Retry.keyOf(frames), { connection, message: "a" })
    assert.deepStrictEqual(Retry.requestOf(frames), ["OC", "room"])
    assert.isFalse(Retry.isRetry(["OC", "room"]))
  })
})

describe("a fingerprint", () => {
  const print = Retry.fingerprint(["BC", "room", "said", `{"n":1}`], 4)

  it("does not depend on what follows the arguments", () => {
    assert.strictEqual(Retry.fingerprint(["BC", "room", "said", `{"n":1}`, "a span"], 4), print)
  })

  it.each([
    ["another command", ["BA", "room", "said", `{"n":1}`]],
    ["another argument", ["BC", "hall", "said", `{"n":1}`]],
    ["a shorter argument that has the same characters", ["BC", "ro", "said", `{"n":1}`]],
    ["a longer argument", ["BC", "room", "said", `{"n":10}`]],
    ["an argument less", ["BC", "room", "said"]],
    ["the same characters in other frames", ["BC", "rooms", "aid", `{"n":1}`]]
  ])("is another of a request with %s", (_, frames) => {
    assert.notStrictEqual(Retry.fingerprint(frames, 4), print)
  })
})
