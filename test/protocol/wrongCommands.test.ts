/** What is no command is not read, and the error says why. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import * as CommandCodec from "../../src/protocol/CommandCodec.ts"
import { BadRequestError, MessageDecodeError } from "../../src/protocol/KosmonautError.ts"
import * as Trigger from "../../src/protocol/Trigger.ts"
import { garbage, pick } from "./arbitraries.ts"

const failureOf = <E>(result: Result.Result<unknown, E>): E => Result.getOrThrow(Result.flip(result))

describe("Command", () => {
  it.each([
    [["OC"]],
    [["OC", ""]],
    [["CC"]],
    [["CC", ""]],
    [["BC"]],
    [["BC", "room"]],
    [["BC", "", "hello", "{}"]],
    [["BC", "room", "", "{}"]],
    [["AT"]],
    [["AT", "joe"]],
    [["AT", "", ".*"]],
    [["AT", "joe", ""]],
    [["BX"]],
    [["BX", "room", "hello"]],
    [["BX", "room", "hello", "{}"]],
    [["BX", "room", "hello", "{}", ""]],
    [["BX", "room", "hello", "", "s"]],
    [["BX", "", "hello", "{}", "s"]],
    [["BX", "room", "", "{}", "s"]],
    [["BA"]],
    [["BA", ""]],
    [["ST"]],
    [["ST", "s"]],
    [["ST", "s", "hello"]],
    [["BC", "room", "hello"]],
    [["ST", "", "hello", "{}"]],
    [["ST", "s", "", "{}"]],
    [["DC"]],
    [["DC", ""]],
    [["LS"]],
    [["LS", "", "0"]],
    [["DB"]],
    [["DB", "sid"]],
    [["DB", "sid", ""]],
    [["DB", "", "s"]],
    [["DB", "SID", "s"]],
    [["DB", "all", "s"]],
    [["RL"]],
    [["RL", ""]],
    [["RL", "", "*"]],
    [["DL"]],
    [["DL", ""]],
    [["DL", "", "*"]],
    [["AK"]],
    [["AK", ""]],
    [["AK", "", "a-1"]],
    [["NK"]],
    [["NK", ""]],
    [["NK", "", "it failed"]],
    [["RQ"]],
    [["RQ", "", "{}"]],
    [["RQ", "x"]],
    [["RQ", "x", "{}", `{"timeout":0}`]],
    [["RQ", "x", "{}", `{"timeout":"5"}`]],
    [["RQ", "x", "{}", `{"timeout":3600001}`]],
    [["RQ", "x", "{}", `{"timeout":1e999}`]],
    [["RQ", "x", "{}", `{"timeout":null}`]],
    [["TG"]],
    [["TG", "", "{}"]],
    [["TG", "x"]],
    [["TG", "x", "{}", `{"delay":-1}`]],
    [["TG", "x", "{}", `{"delay":"5"}`]],
    [["TG", "x", "{}", `{"delay":2592000001}`]],
    [["TG", "x", "{}", `{"dedupeKey":""}`]],
    [["TG", "x", "{}", `{"dedupeKey":7}`]],
    [["TG", "x", "{}", `{"dedupeKey":"${"x".repeat(256)}"}`]],
    [["RP"]],
    [["RP", "", "ok", "{}"]],
    [["RP", "a-1"]],
    [["RP", "a-1", "ok"]],
    [["RP", "a-1", "ok", ""]],
    [["RP", "a-1", "OK", "{}"]]
  ])("of a backend with a missing or empty argument is a bad request: %j", (frames) => {
    const failure = failureOf(CommandCodec.decodeFromClient(frames))
    expect(failure).toBeInstanceOf(BadRequestError)
    expect(failure.code).toBe(400)
    expect(failure.message).toContain(`${frames[0]} needs`)
  })

  it.each([[[]], [[""]], [["XX"]], [["oc", "room"]], [["OC ", "room"]], [["\u{FEFF}OC", "room"]], [["OK"]], [[
    "constructor"
  ]], [[
    "__proto__"
  ]]])("of a backend that is unknown is a bad request: %j", (frames) => {
    const failure = failureOf(CommandCodec.decodeFromClient(frames))
    expect(failure.code).toBe(400)
    expect(failure.message).toContain("unknown")
  })

  it.each([
    [[], "undefined"],
    [[""], `""`],
    [["XX", "1"], `"XX"`],
    [["ok"], `"ok"`],
    [["constructor"], `"constructor"`],
    [["AT"], "AT"],
    [["AT", ""], "AT"],
    [["ER"], "ER"],
    [["ER", ""], "ER"],
    [["ER", "x"], "ER"],
    [["ER", "40"], "ER"],
    [["ER", "4000"], "ER"],
    [["ER", "-40"], "ER"],
    [["ER", "4e2"], "ER"],
    [["ER", " 400"], "ER"],
    [["ER", "400\n"], "ER"],
    [["TR"], "TR"]
  ])("of the broker that is malformed is not read, and the error names it: %j", (frames, named) => {
    const failure = failureOf(CommandCodec.decodeFromServer(frames))
    expect(failure).toBeInstanceOf(MessageDecodeError)
    expect(failure.message).toContain(named)
  })

  it.prop("is read from anything without throwing", [
    Arbitrary.array(garbage, { maxLength: 4 }),
    pick(["OC", "CC", "BC", "AT", "RD", "AK", "NK", "RP", "RQ", "TG", "HB", "QT", "OK", "ER", "TR"])
  ], ([frames, command]) => {
    for (const some of [frames, [command, ...frames]]) {
      CommandCodec.decodeFromClient(some)
      CommandCodec.decodeFromServer(some)
    }
  })

  it("is not shown at full length in an error", () => {
    const long = "x".repeat(100_000)
    expect(failureOf(CommandCodec.decodeFromClient([long])).message.length).toBeLessThan(300)
    expect(failureOf(CommandCodec.decodeFromServer([long])).message.length).toBeLessThan(300)
    expect(failureOf(CommandCodec.decodeFromServer(["ER", long])).message.length).toBeLessThan(300)
    for (const text of [long, `{"${long}":1}`, `{"a":"${long}"}`, `{"a":{}}${long}`, "[".repeat(100_000)]) {
      expect(failureOf(Trigger.decodeEvent(text)).message.length).toBeLessThan(300)
    }
  })

  it.effect("fails with errors that catchTag finds", () =>
    Effect.gen(function*() {
      const asked = Effect.fromResult(CommandCodec.decodeFromClient(["XX"]))
      const answered = Effect.fromResult(CommandCodec.decodeFromServer(["XX"]))
      const event = Effect.fromResult(Trigger.decodeEvent("x"))
      const caught = Effect.succeed("caught" as const)
      expect(yield* Effect.catchTag(asked, "BadRequestError", () => caught)).toBe("caught")
      expect(yield* Effect.catchTag(answered, "MessageDecodeError", () => caught)).toBe("caught")
      expect(yield* Effect.catchTag(event, "MessageDecodeError", () => caught)).toBe("caught")
    }))
})
