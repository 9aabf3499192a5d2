import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import type { Browser } from "../../../src/server/domain/Browser.ts"
import * as Permission from "../../../src/server/domain/Permission.ts"
import * as Fields from "../../../src/server/engine/internal/fields.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import * as Operations from "../../../src/server/engine/internal/operations.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as Vhost from "../../harness/vhost.ts"
import { int, jsonObject, oneOf, pick, text } from "../../protocol/arbitraries.ts"

const permission = Result.getOrThrow(
  Permission.make("joe", "room.*", undefined, { info: new JsonText.ObjectText("{\"a\":1}") })
)

const browsers = new Map(["a", "ü", ""].map((sid) => [sid, FakeBrowser.make(sid)]))
const browserOf = (sid: string): Browser => browsers.get(sid)!

const limits = Limits.fromConfig(Effect.runSync(BrokerConfig.make()))

const maybe = <A>(value: Arbitrary.Arbitrary<A>): Arbitrary.Arbitrary<A | undefined> =>
  oneOf(Arbitrary.Constant(undefined), value)

const anyOperation: Arbitrary.Arbitrary<Operations.Operation> = Arbitrary.map(
  Arbitrary.all({
    tag: pick([
      "OpenChannel",
      "CloseChannel",
      "Broadcast",
      "SendTo",
      "SendToUser",
      "Disconnect",
      "Join",
      "Update",
      "Leave",
      "EndGrace",
      "SetRules",
      "EnterNode",
      "EnterBrowser",
      "Identify",
      "LeaveBrowser",
      "Tick"
    ]),
    channel: text,
    name: text,
    maybeName: maybe(text),
    browser: pick([...browsers.values()]),
    data: Arbitrary.map(jsonObject, JsonText.fromObject),
    id: maybe(oneOf<string | number>(text, int(-5, 5))),
    count: maybe(int(0, 1_000_000)),
    permission: maybe(Arbitrary.Constant(permission)),
    since: maybe(Arbitrary.all({ epoch: text, position: int(0, 99), sid: maybe(text) })),
    is: pick([true, false]),
    rules: pick([
      Vhost.rules(),
      Vhost.rules({ pattern: "a:1.*", history: { count: 3 }, openOnDemand: true }, { pattern: "b" })
    ])
  }),
  ({ browser, channel, count, data, id, is, maybeName, name, permission, rules, since, tag }): Operations.Operation => {
    switch (tag) {
      case "OpenChannel":
      case "CloseChannel":
        return { _tag: tag, channel }
      case "Broadcast":
        return { _tag: tag, channel, event: name, data, from: is ? browser : undefined, exceptSid: maybeName }
      case "SendTo":
        return { _tag: tag, sid: channel, event: name, data }
      case "SendToUser":
        return { _tag: tag, uid: channel, event: name, data }
      case "Disconnect":
        return { _tag: tag, by: is ? "sid" : "uid", who: name }
      case "Join":
        return { _tag: tag, channel, browser, hidden: is, byBackend: !is, data, id, permission, rewind: count, since }
      case "Update":
        return {
          _tag: tag,
          channel,
          browser,
          data: count === undefined ? undefined : data,
          permission: permission && { info: is ? permission.info : undefined }
        }
      case "Leave":
        return {
          _tag: tag,
          channel,
          browser,
          farewell: data,
          mayReturn: is,
          reason: is ? "backend" : undefined,
          request: id === undefined && is ? undefined : { id }
        }
      case "EndGrace":
        return {
          _tag: tag,
          channel,
          uid: maybeName,
          sid: maybeName,
          until: count === undefined ? undefined : count / 7
        }
      case "SetRules":
        return { _tag: tag, rules }
      case "EnterNode":
        return { _tag: tag, limits: { ...limits, maxChannels: is ? Infinity : 7 } }
      case "EnterBrowser":
        return { _tag: tag, sid: name, version: is ? 1 : 0 }
      case "Identify":
        return { _tag: tag, browser, uid: maybeName, info: is ? data : undefined }
      case "LeaveBrowser":
        return { _tag: tag, browser, mayReturn: is }
      case "Tick":
        return { _tag: tag }
    }
  }
)

// What can be compared: of a permission what it allows here, of limits and rules what matters.
const comparable = (operation: Operations.Operation | undefined): unknown => {
  switch (operation?._tag) {
    case "Join": {
      const { channel, permission } = operation
      return {
        ...operation,
        permission: permission && { uid: permission.uid, info: permission.info, allows: permission.allows(channel) }
      }
    }
    case "SetRules": {
      const { digest, list, otherwise } = operation.rules
      const matches = list.map(({ pattern }) => ["a:1x", "b", "c"].map(pattern.allows))
      return { digest, otherwise, list: list.map(({ isForInboxes, rule }) => ({ isForInboxes, rule })), matches }
    }
    case "EnterNode":
      return { maxChannels: operation.limits.maxChannels, outboxSize: operation.limits.outboxSize }
  }
  return operation
}

describe("operations as text", () => {
  it.prop("are read as they were written, one after the other", [Arbitrary.array(anyOperation, { maxLength: 8 })], ([
    operations
  ]) => {
    const reader = Fields.reader(operations.map(Operations.write).join(""))
    for (const operation of operations) {
      expect(comparable(Operations.read(reader, browserOf))).toEqual(comparable(operation))
    }
    expect(Fields.isAtEnd(reader)).toBe(true)
  }, { arbitrary: { runs: 300 } })

  it.prop("end if they are cut off or something else", [anyOperation, int(0, 100), text], ([operation, at, other]) => {
    const written = Operations.write(operation)
    for (const wrong of [written.slice(0, at), written.slice(0, at) + other, other]) {
      const reader = Fields.reader(wrong)
      for (let left = wrong.length + 1; left > 0 && !Fields.isAtEnd(reader); left--) Operations.read(reader, browserOf)
      expect(Fields.isAtEnd(reader)).toBe(true)
    }
  }, { arbitrary: { runs: 300 } })

  it("have halves of surrogate pairs replaced, as every node would read them", () => {
    const read = (written: string) => Fields.readText(Fields.reader(Buffer.from(written).toString()))
    expect(read(Fields.text("a\ud800b"))).toBe("a\ufffdb")
  })

  it("check data where they are written: text that is no object is an empty one", () => {
    const written = Operations.write({ _tag: "SendTo", sid: "a", event: "e", data: "[1" })
    expect(Operations.read(Fields.reader(written), browserOf)).toMatchObject({ data: { text: "{}" } })
  })
})
