/** Events as workers receive them. */
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import * as BrokerMessage from "../../src/protocol/BrokerMessage.ts"
import { FromClient } from "../../src/protocol/Command.ts"
import * as CommandCodec from "../../src/protocol/CommandCodec.ts"
import { MessageDecodeError } from "../../src/protocol/KosmonautError.ts"
import * as Trigger from "../../src/protocol/Trigger.ts"
import { anyText, garbage, jsonObject, key, oddKeys } from "./arbitraries.ts"

const failureOf = <E>(result: Result.Result<unknown, E>): E => Result.getOrThrow(Result.flip(result))

describe("Command", () => {
  it.prop("brings an event as it was triggered", [key, jsonObject], ([event, data]) => {
    const read = Result.getOrThrow(Trigger.decodeEvent(JSON.stringify(Object.fromEntries([[event, data]]))))
    expect(Object.keys(read)).toEqual(["event", "data"])
    expect(read.event).toBe(event)
    expect(JSON.stringify(read.data)).toBe(JSON.stringify(data))
  })

  it.prop("brings an event as the broker writes it", [key, jsonObject, anyText], ([event, data, sid]) => {
    const read = Result.getOrThrow(Trigger.decodeEvent(BrokerMessage.triggered(event, data, sid)))
    expect(read.event).toBe(event)
    expect(Object.entries(read.data).filter(([key]) => key !== "sid")).toEqual(
      Object.entries(data).filter(([key]) => key !== "sid")
    )
    expect(read.data.sid).toBe(sid)
  })

  it.each([
    ["no JSON", "not json", "not JSON"],
    ["nothing", "", "not JSON"],
    ["an array", "[]", "one key"],
    ["null", "null", "one key"],
    ["no key", "{}", "one key"],
    ["two keys", `{"a":{},"b":{}}`, "one key"],
    ["a text as the value", `{"a":"b"}`, "one key"],
    ["an array as the value", `{"a":[]}`, "one key"],
    ["null as the value", `{"a":null}`, "one key"],
    ["too many levels", `{"a":${`{"a":`.repeat(300)}1${"}".repeat(301)}`, "256 levels"]
  ])("brings no event in %s", (_, json, detail) => {
    const failure = failureOf(Trigger.decodeEvent(json))
    expect(failure).toBeInstanceOf(MessageDecodeError)
    expect(failure.message).toContain(detail)
  })

  it.prop("brings events or none in anything, without throwing", [garbage], ([json]) => {
    Trigger.decodeEvent(json)
  }, { arbitrary: { runs: 300 } })

  it.each(oddKeys.filter((key) => key !== ""))("takes %j for a name like any other", (key) => {
    const event = Result.getOrThrow(
      Trigger.decodeEvent(`{${JSON.stringify(key)}:{${JSON.stringify(key)}:{"polluted":true}}}`)
    )
    expect(event.event).toBe(key)
    expect(Object.keys(event.data)).toEqual([key])
    expect(Object.getPrototypeOf(event.data)).toBe(Object.prototype)
    for (
      const command of [
        FromClient.OpenChannel({ channel: key }),
        FromClient.Broadcast({ channel: key, event: key, data: key }),
        FromClient.AccessToken({ uid: key, pattern: key })
      ]
    ) {
      expect(CommandCodec.decodeFromClient(CommandCodec.encodeFromClient(command))).toEqual(Result.succeed(command))
    }
    expect("polluted" in {}).toBe(false)
  })
})
