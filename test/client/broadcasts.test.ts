/** Broadcasts of a Client, one or many, and what it sends to single browsers and users. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Redacted, Result } from "effect"
import { Client } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { answeredBy, over, subscribed, tagsOf } from "../harness/clients.ts"
import { eventually } from "../harness/eventually.ts"
import { tagOf } from "../harness/tagOf.ts"
import { TestBroker, transports } from "../harness/TestBroker.ts"
import { anyText, channel, jsonObject, oneOf, pick } from "../protocol/arbitraries.ts"

describe.each(transports)("Client over $name", ({ url }) => {
  const { within } = over(url)

  it.live("broadcasts to all but one browser", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe] = [yield* subscribed("room"), yield* subscribed("room")]
      yield* client.broadcast("room", "hello", { n: 1 }, { exceptSid: ann.sid })
      // An empty `exceptSid` excludes no browser.
      yield* client.broadcast("room", "next", {}, { exceptSid: "" })
      yield* client.broadcast("room", "last", {}, {})
      assert.deepStrictEqual([yield* ann.next, yield* ann.next], [
        { next: { channel: "room" } },
        { last: { channel: "room" } }
      ])
      assert.deepStrictEqual(yield* joe.next, { hello: { n: 1, channel: "room" } })
      const error = yield* Effect.flip(client.broadcast("nope", "hello", {}, { exceptSid: ann.sid }))
      assert.strictEqual(error._tag, "ChannelNotFoundError")
    })))

  it.live("broadcasts many at once, with a result for each, in order; one that fails does not stop the others", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const [ann, joe] = [yield* subscribed("room"), yield* subscribed("room")]
      const cycle: Record<string, unknown> = {}
      cycle.self = cycle
      const results = yield* client.broadcastAll([
        { channel: "a b", event: "e0" },
        { channel: "room", event: "e1", data: { text: "zażółć\n\"👍\"" } },
        { channel: "nope", event: "e2" },
        { channel: "room", event: "" },
        { channel: "room", event: "e4", data: cycle },
        { channel: "room", event: "e5", data: [] },
        { channel: "room", event: "e6", exceptSid: ann.sid },
        { channel: "none", event: "e7" },
        { channel: "room", event: "e8", exceptSid: "" }
      ])
      assert.deepStrictEqual(tagsOf(results), [
        "ChannelNotFoundError",
        undefined,
        "ChannelNotFoundError",
        "ProtocolError/BadRequestError",
        "ProtocolError/MessageEncodeError",
        "ProtocolError/MessageEncodeError",
        undefined,
        "ChannelNotFoundError",
        undefined
      ])
      const messages = results.map((result) => Result.isFailure(result) ? result.failure.message : "")
      assert.include(messages[0], `"a b"`)
      assert.include(messages[2], `"nope"`)
      assert.include(messages[7], `"none"`)
      const [e1, e6, e8] = [
        { e1: { text: "zażółć\n\"👍\"", channel: "room" } },
        { e6: { channel: "room" } },
        { e8: { channel: "room" } }
      ]
      assert.deepStrictEqual([yield* ann.next, yield* ann.next], [e1, e8])
      assert.deepStrictEqual([yield* joe.next, yield* joe.next, yield* joe.next], [e1, e6, e8])
      const many = yield* client.broadcastAll(
        Array.from({ length: 1000 }, (_, n) => ({ channel: "room", event: "n", data: { n } }))
      )
      assert.strictEqual(many.filter(Result.isSuccess).length, 1000)
      for (let n = 0; n < 1000; n++) assert.deepStrictEqual(yield* ann.next, { n: { n, channel: "room" } })
    })))

  it.live("sends to all browsers of a user, whatever its id", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const uids = ["joe", "zażółć gęślą 🦆", ":user", "a b\tc", "\"{}\\"]
      for (const uid of uids) {
        const browser = yield* Browser.connect(`${urls.websocket}?v=1`)
        const token = Redacted.value(yield* client.requestSingleAccessToken({ uid, channels: [] }))
        yield* browser.send({ auth: { token } })
        yield* browser.send({ subscribe: { channel: ":user" } })
        assert.deepStrictEqual(yield* browser.nextOf(":subscribed"), { channel: ":user", uid })
        for (const to of uids) yield* client.sendToUser(to, "hello", { to })
        assert.strictEqual(yield* client.sendToUser(uid, "bare"), 1)
        assert.deepInclude(yield* browser.next, { hello: { to: uid } })
        assert.deepInclude(yield* browser.next, { bare: {} })
      }
    })))

  it.live("sends to one browser, whatever channels it is on, until it disconnects", () =>
    within(Effect.gen(function*() {
      const client = yield* Client.Client
      const { urls } = yield* TestBroker
      const sid = yield* Effect.scoped(Effect.gen(function*() {
        const [ann, joe] = [yield* Browser.connect(urls.websocket), yield* subscribed("room")]
        yield* client.sendTo(ann.sid, "hello", { sid: "as it is", text: "zażółć\n" })
        yield* client.sendTo(ann.sid, "bare")
        yield* client.broadcast("room", "last")
        assert.deepStrictEqual([yield* ann.next, yield* ann.next], [
          { hello: { sid: "as it is", text: "zażółć\n" } },
          { bare: {} }
        ])
        assert.deepStrictEqual(yield* joe.next, { last: { channel: "room" } })
        return ann.sid
      }))
      const error = yield* eventually(
        Effect.flip(Effect.andThen(client.sendTo(sid, "hello"), Effect.fail("still there" as const))),
        (error) => error !== "still there"
      )
      assert.deepInclude(error, { _tag: "BrowserNotFoundError", sid })
    })))
})

describe("Client", () => {
  it.effect("sends nothing if every broadcast is wrong, or if there is none", () =>
    Effect.gen(function*() {
      const { asked, client } = yield* answeredBy(() => ["OK", "[]"])
      assert.deepStrictEqual(yield* client.broadcastAll([]), [])
      const results = yield* client.broadcastAll([
        { channel: "a b", event: "e" },
        { channel: "room", event: "" },
        { channel: "room", event: "e", data: () => 1 }
      ])
      assert.deepStrictEqual(tagsOf(results), [
        "ChannelNotFoundError",
        "ProtocolError/BadRequestError",
        "ProtocolError/MessageEncodeError"
      ])
      assert.strictEqual(yield* client.disconnect({ sid: "" }), 0)
      assert.strictEqual(yield* client.disconnect({ uid: "" }), 0)
      assert.strictEqual(yield* client.sendToUser("", "e"), 0)
      assert.strictEqual((yield* Effect.flip(client.sendTo("", "e")))._tag, "BrowserNotFoundError")
      assert.strictEqual(tagOf(yield* Effect.flip(client.sendTo("s", ""))), "ProtocolError/BadRequestError")
      assert.strictEqual(tagOf(yield* Effect.flip(client.sendTo("s", "e", []))), "ProtocolError/MessageEncodeError")
      assert.strictEqual(
        tagOf(yield* Effect.flip(client.sendTo("s", "e", { n: 1n }))),
        "ProtocolError/MessageEncodeError"
      )
      assert.deepStrictEqual(asked, [])
    }))

  it.effect.prop("sends many broadcasts as JSON, data as they were written", [
    Arbitrary.array(
      Arbitrary.all({
        channel,
        event: Arbitrary.map(anyText, (text) => `e${text}`),
        data: jsonObject,
        exceptSid: oneOf<string | undefined>(anyText, pick([undefined]))
      }),
      { minLength: 1, maxLength: 5 }
    )
  ], ([broadcasts]) =>
    Effect.gen(function*() {
      const { asked, client } = yield* answeredBy(() => ["OK", JSON.stringify(broadcasts.map(() => 204))])
      const results = yield* client.broadcastAll(broadcasts)
      assert.strictEqual(results.filter(Result.isSuccess).length, broadcasts.length)
      assert.deepStrictEqual(asked, [[
        "BA",
        JSON.stringify(broadcasts.map(({ channel, data, event, exceptSid }) =>
          exceptSid ? [channel, event, data, exceptSid] : [channel, event, data]
        ))
      ]])
      assert.isTrue(asked[0]![1]!.isWellFormed())
      assert.notMatch(asked[0]![1]!, /[\r\n]/)
    }))

  it.effect("has an error for each status of one broadcast of many", () =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => ["OK", "[204,400,454,597,403,200]"])
      const results = yield* client.broadcastAll(
        Array.from({ length: 6 }, (_, n) => ({ channel: `room${n}`, event: "e" }))
      )
      assert.deepStrictEqual(tagsOf(results), [
        undefined,
        "ProtocolError/BadRequestError",
        "ChannelNotFoundError",
        "ProtocolError/InternalError",
        "ProtocolError/UnknownServerError",
        "ProtocolError/UnknownServerError"
      ])
      assert.deepInclude(Result.getOrThrow(Result.flip(results[2]!)), { channel: "room2" })
    }))

  it.effect.each<[string, ReadonlyArray<string>]>([
    ["nothing", ["OK"]],
    ["too few", ["OK", "[204]"]],
    ["too many", ["OK", "[204,204,204]"]],
    ["no list", ["OK", "204"]],
    ["no statuses", ["OK", `["204","204"]`]],
    ["no whole numbers", ["OK", "[204,204.5]"]],
    ["no JSON", ["OK", "[204,"]],
    ["a token", ["AT", "[204,204]"]]
  ])("fails with MessageDecodeError if two broadcasts are answered with %s", ([_, answer]) =>
    Effect.gen(function*() {
      const { client } = yield* answeredBy(() => answer)
      const broadcasts = [{ channel: "room", event: "a" }, { channel: "room", event: "b" }]
      assert.strictEqual(tagOf(yield* Effect.flip(client.broadcastAll(broadcasts))), "ProtocolError/MessageDecodeError")
    }))
})
