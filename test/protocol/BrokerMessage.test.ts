import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { readFileSync } from "node:fs"
import * as BrokerMessage from "../../src/protocol/BrokerMessage.ts"
import type { JsonObject } from "../../src/protocol/Json.ts"
import * as JsonText from "../../src/protocol/JsonText.ts"
import {
  BadRequestError,
  BrowserNotFoundError,
  ChannelNotFoundError,
  EndOfFileError,
  ForbiddenError,
  InternalError,
  InvalidChannelNameError,
  NotSubscribedError,
  type StatusError,
  UnauthorizedError
} from "../../src/protocol/KosmonautError.ts"
import { anyText, int, jsonObject, key, oddKeys, oneOf, pick } from "./arbitraries.ts"

/** The only key of a message and its value. */
const entryOf = (message: string): readonly [event: string, payload: JsonObject] => {
  const [entry, ...more] = Object.entries(JSON.parse(message) as Record<string, JsonObject>)
  expect(more).toEqual([])
  return entry
}

/** A broadcast without a position. */
const broadcast = (...args: Parameters<typeof BrokerMessage.broadcastBody>) =>
  BrokerMessage.unpositioned(BrokerMessage.broadcastBody(...args))

/** An object without some keys, as entries, so that a key like `__proto__` cannot hide. */
const without = (object: JsonObject, ...keys: ReadonlyArray<string>) =>
  Object.entries(object).filter(([key]) => !keys.includes(key)).sort(([a], [b]) => a < b ? -1 : 1)

const name = Arbitrary.map(anyText, (text) => text === "" ? "x" : text)

/** Data that claims to be the system's. */
const forged: Arbitrary.Arbitrary<JsonObject> = Arbitrary.map(
  Arbitrary.all([
    jsonObject,
    Arbitrary.array(pick(["channel", "uid", "sid", "event", "subscribers"]), { maxLength: 5 })
  ]),
  ([data, keys]) => ({ ...data, ...Object.fromEntries(keys.map((key) => [key, "forged"])) })
)

interface Member {
  readonly uid: string
  readonly data: JsonObject
}

const textOf = (channel: string, { data, uid }: Member) => BrokerMessage.member(channel, uid, JsonText.fromObject(data))

const memberJoined = (channel: string, member: Member) => BrokerMessage.memberJoined(textOf(channel, member))

const memberLeft = (channel: string, { data, uid }: Member, farewell: JsonObject) =>
  BrokerMessage.memberLeft(
    BrokerMessage.member(channel, uid, JsonText.merge(JsonText.fromObject(data), JsonText.fromObject(farewell)))
  )

const listOf = (channel: string, members: ReadonlyArray<Member>, next?: number): BrokerMessage.MemberList => ({
  members: members.map((member) => textOf(channel, member)),
  next,
  count: 7
})

describe("BrokerMessage", () => {
  it.each<[string, string, unknown]>([
    ["connected", BrokerMessage.connected("s"), { ":connected": { sid: "s" } }],
    ["authenticated", BrokerMessage.authenticated(), { ":authenticated": {} }],
    ["authenticated as a user", BrokerMessage.authenticated({ uid: "joe" }), { ":authenticated": { uid: "joe" } }],
    [
      "authenticated for a time",
      BrokerMessage.authenticated({ uid: "joe", expiresIn: 1500, channels: ["a"] }, 7),
      { ":authenticated": { uid: "joe", expiresIn: 1500, channels: ["a"], id: 7 } }
    ],
    [
      "unsubscribed by the broker",
      BrokerMessage.unsubscribed("room", undefined, "forbidden"),
      { ":unsubscribed": { channel: "room", reason: "forbidden" } }
    ],
    ["subscribed", BrokerMessage.subscribed("c", undefined, undefined), { ":subscribed": { channel: "c" } }],
    ["subscribed with a uid", BrokerMessage.subscribed("c", "joe", undefined), {
      ":subscribed": { channel: "c", uid: "joe" }
    }],
    ["subscribed without members", BrokerMessage.subscribed("c", "joe", listOf("c", [])), {
      ":subscribed": { channel: "c", uid: "joe", subscribers: [] }
    }],
    ["subscribed with an empty uid", BrokerMessage.subscribed("c", "", listOf("c", [])), {
      ":subscribed": { channel: "c", uid: "", subscribers: [] }
    }],
    [
      "subscribed with members",
      BrokerMessage.subscribed("c", "joe", listOf("c", [{ uid: "ann", data: { a: 1 } }, { uid: "bob", data: {} }])),
      {
        ":subscribed": {
          channel: "c",
          uid: "joe",
          subscribers: [{ channel: "c", uid: "ann", a: 1 }, { channel: "c", uid: "bob" }]
        }
      }
    ],
    ["unsubscribed", BrokerMessage.unsubscribed("c"), { ":unsubscribed": { channel: "c" } }],
    ["memberJoined", memberJoined("c", { uid: "ann", data: { a: 1 } }), {
      ":memberJoined": { channel: "c", uid: "ann", a: 1 }
    }],
    ["memberLeft", memberLeft("c", { uid: "ann", data: { a: 1, b: 1 } }, { b: 2, c: 3 }), {
      ":memberLeft": { channel: "c", uid: "ann", a: 1, b: 2, c: 3 }
    }],
    ["closed", BrokerMessage.closed("s"), { ":closed": { sid: "s" } }],
    ["a backend's broadcast", broadcast("e", { a: 1 }, "c"), { e: { a: 1, channel: "c" } }],
    ["a browser's broadcast", broadcast("e", { a: 1 }, "c", "s"), {
      e: { a: 1, channel: "c", sid: "s" }
    }],
    ["an event for one browser", BrokerMessage.direct("e", { channel: "c", sid: "s" }), {
      e: { channel: "c", sid: "s" }
    }],
    ["a response", BrokerMessage.response(7, "ok", `[1,null]`), { ":response": { id: 7, data: [1, null] } }],
    ["a declared error", BrokerMessage.response(`"`, "error", `{"_tag":"NotAllowed"}`), {
      ":response": { id: `"`, error: { _tag: "NotAllowed" } }
    }],
    ["a trigger", BrokerMessage.triggered("e", { a: 1 }, "s"), { e: { a: 1, sid: "s" } }],
    ["a broadcast's trigger", BrokerMessage.triggered("e", { a: 1 }, "s", "c"), { e: { a: 1, sid: "s", channel: "c" } }]
  ])("of the broker is written: %s", (_, message, expected) => {
    expect(JSON.parse(message)).toStrictEqual(expected)
  })

  it.each<[StatusError, number, string]>([
    [new BadRequestError({ detail: "d" }), 400, "Bad request"],
    [new UnauthorizedError({ detail: "d" }), 402, "Unauthorized"],
    [new ForbiddenError({ detail: "d" }), 403, "Forbidden"],
    [new InvalidChannelNameError({ channel: "c" }), 451, "Invalid channel name"],
    [new NotSubscribedError({ channel: "c" }), 453, "Not subscribed"],
    [new ChannelNotFoundError({ channel: "c" }), 454, "Channel not found"],
    [new BrowserNotFoundError({ sid: "s" }), 455, "Browser not found"],
    [new InternalError({ detail: "d" }), 597, "Internal error"],
    [new EndOfFileError(), 598, "End of file"]
  ])("of the broker tells an error's code and status and nothing else: %s", (error, code, status) => {
    expect(JSON.parse(BrokerMessage.error(error))).toStrictEqual({ ":error": { code, status } })
  })

  it.each<[StatusError, string]>([
    [new BadRequestError({ detail: "auth needs a token" }), "auth needs a token"],
    [new NotSubscribedError({ channel: "room" }), `subscribe to "room" first`],
    [
      new ChannelNotFoundError({ channel: "a: b" }),
      `"a: b" is not open. A backend opens it first (openChannel), or it has a rule with openOnDemand`
    ]
  ])("of the broker says why to those who ask: %s", (error, reason) => {
    expect(JSON.parse(BrokerMessage.error(error, { event: "auth", id: 7 }))).toMatchObject({
      ":error": { code: error.code, id: 7, event: "auth", reason }
    })
    expect(JSON.parse(BrokerMessage.error(error, {}))[":error"].reason).toBe(reason)
  })

  it.each<[string, string, unknown]>([
    ["connected", BrokerMessage.connected("s", { pingInterval: 25_000 }), {
      ":connected": { sid: "s", v: 1, pingInterval: 25_000 }
    }],
    ["connected without pings", BrokerMessage.connected("s", { pingInterval: Infinity }), {
      ":connected": { sid: "s", v: 1 }
    }],
    ["authenticated", BrokerMessage.authenticated(undefined, 0), { ":authenticated": { id: 0 } }],
    ["subscribed", BrokerMessage.subscribed("c", undefined, undefined, "a"), {
      ":subscribed": { channel: "c", id: "a" }
    }],
    ["subscribed in part", BrokerMessage.subscribed("c", "joe", listOf("c", [{ uid: "ann", data: {} }], 3)), {
      ":subscribed": {
        channel: "c",
        uid: "joe",
        truncated: true,
        count: 7,
        next: 3,
        subscribers: [{ channel: "c", uid: "ann" }]
      }
    }],
    ["members", BrokerMessage.members("c", listOf("c", [{ uid: "ann", data: {} }], 3), 1), {
      ":members": { channel: "c", next: 3, id: 1, subscribers: [{ channel: "c", uid: "ann" }] }
    }],
    ["the last members", BrokerMessage.members("c", listOf("c", [])), {
      ":members": { channel: "c", next: null, subscribers: [] }
    }],
    ["pong", BrokerMessage.pong(), { ":pong": {} }],
    ["pong to an id", BrokerMessage.pong("a"), { ":pong": { id: "a" } }]
  ])("of the broker to browsers of ours is written: %s", (_, message, expected) => {
    expect(JSON.parse(message)).toStrictEqual(expected)
  })

  it.prop("of the broker carries all data, and its own keys win", [name, name, name, forged, forged], ([
    channel,
    uid,
    sid,
    data,
    farewell
  ]) => {
    const member = { uid, data }

    const [joined, newcomer] = entryOf(memberJoined(channel, member))
    expect([joined, newcomer.channel, newcomer.uid]).toEqual([":memberJoined", channel, uid])
    expect(without(newcomer, "channel", "uid")).toEqual(without(data, "channel", "uid"))

    const [left, leaver] = entryOf(memberLeft(channel, member, farewell))
    expect([left, leaver.channel, leaver.uid]).toEqual([":memberLeft", channel, uid])
    expect(without(leaver, "channel", "uid")).toEqual(without({ ...data, ...farewell }, "channel", "uid"))

    const [, { subscribers, ...subscription }] = entryOf(
      BrokerMessage.subscribed(channel, uid, listOf(channel, [member, member]))
    )
    expect(subscription).toEqual({ channel, uid })
    for (const one of subscribers as unknown as ReadonlyArray<JsonObject>) {
      expect([one.channel, one.uid]).toEqual([channel, uid])
      expect(without(one, "channel", "uid")).toEqual(without(data, "channel", "uid"))
    }

    const [, sent] = entryOf(broadcast("e", data, channel, sid))
    expect([sent.channel, sent.sid]).toEqual([channel, sid])
    expect(without(sent, "channel", "sid")).toEqual(without(data, "channel", "sid"))

    const [, triggered] = entryOf(BrokerMessage.triggered("e", data, sid, channel))
    expect([triggered.channel, triggered.sid]).toEqual([channel, sid])
    expect(without(triggered, "channel", "sid")).toEqual(without(data, "channel", "sid"))
  })

  it.prop("of the broker says the same of data and of their text", [
    oneOf(
      jsonObject,
      Arbitrary.map(oneOf(pick(oddKeys), pick(["channel", "sid"])), (key) => JSON.parse(`{${JSON.stringify(key)}:1}`))
    ),
    pick([0, 2, "\t"])
  ], ([data, space]) => {
    const text = ` ${JSON.stringify(data, undefined, space)}\n`
    const heard = (message: string) => JSON.stringify(JSON.parse(message))
    for (const sid of [undefined, "s"]) {
      expect(heard(broadcast("e", text, "c", sid))).toBe(
        heard(broadcast("e", data, "c", sid))
      )
    }
    expect(heard(BrokerMessage.direct("e", text))).toBe(heard(BrokerMessage.direct("e", data)))
  })

  it.each([
    [`{"a":1}`, `{"e":{"a":1,"channel":"c"}}`],
    [`{"a":{"b":"}"}} `, `{"e":{"a":{"b":"}"},"channel":"c"}}`],
    [`{"chann\\u0065l":"x","a":1}`, `{"e":{"a":1,"channel":"c"}}`],
    [`{"a":{"channel":"x"}}`, `{"e":{"a":{"channel":"x"},"channel":"c"}}`],
    [`{}`, `{"e":{"channel":"c"}}`],
    [``, `{"e":{"channel":"c"}}`],
    [`[{"a":1}]`, `{"e":{"channel":"c"}}`],
    [`{"a":1}}`, `{"e":{"channel":"c"}}`],
    [`{"a":1},"b":{}`, `{"e":{"channel":"c"}}`],
    [`{"a":`.repeat(300) + "1" + "}".repeat(300), `{"e":{"channel":"c"}}`]
  ])("of the broker has what is the text of an object, %s", (text, message) => {
    expect(broadcast("e", text, "c")).toBe(message)
  })

  it.prop(
    "of the broker has any event's name",
    [oneOf(key, pick(oddKeys)), jsonObject, name],
    ([event, data, channel]) => {
      // Halves of characters travel as escapes, which is what makes them arrive.
      for (
        const message of [
          broadcast(event, data, channel),
          BrokerMessage.triggered(event, data, "s"),
          BrokerMessage.direct(event, data)
        ]
      ) {
        expect(message.isWellFormed()).toBe(true)
        expect(entryOf(message)[0]).toBe(event)
      }
      expect(BrokerMessage.direct(event, data)).toBe(`{${JSON.stringify(event)}:${JSON.stringify(data)}}`)
    }
  )

  it.prop(
    "of the broker gets a position, and is the same without it",
    [oneOf(key, pick(oddKeys)), jsonObject, name, int(1, 2 ** 53 - 1)],
    ([event, data, channel, position]) => {
      const body = BrokerMessage.broadcastBody(event, data, channel)
      const at = BrokerMessage.positioned(body, position)
      const user = BrokerMessage.toUser(body, position)
      const plain = BrokerMessage.unpositioned(body).slice(1, -1)
      expect([at, user]).toEqual([`{${plain},":at":${position}}`, `{${plain},":user":${position}}`])
      expect([BrokerMessage.bodyOf(at), BrokerMessage.bodyOf(user)]).toEqual([body, body])
    }
  )

  it.each(oddKeys.filter((key) => key !== ""))("takes %j for a name like any other", (key) => {
    const quoted = JSON.stringify(key)
    const data = `{${quoted}:{"polluted":true}}`
    const sent = new JsonText.ObjectText(data)
    expect(broadcast(key, sent, key)).toBe(
      `{${quoted}:{${quoted}:{"polluted":true},"channel":${quoted}}}`
    )
    expect(BrokerMessage.triggered(key, sent, "s")).toBe(`{${quoted}:{${quoted}:{"polluted":true},"sid":"s"}}`)
    const member = { uid: "u", data: JSON.parse(data) as JsonObject }
    for (
      const written of [
        memberJoined("c", member),
        memberLeft("c", member, {}),
        memberLeft("c", { uid: "u", data: {} }, member.data),
        BrokerMessage.subscribed("c", "u", listOf("c", [member]))
      ]
    ) {
      expect(written).toContain(`${quoted}:{"polluted":true}`)
    }
    expect("polluted" in {}).toBe(false)
  })

  // --- The original --------------------------------------------------------------------------------------------------

  const recorded: ReadonlyArray<{ readonly from: string; readonly text?: string }> = readFileSync(
    new URL("../fixtures/original-browser-exchange.jsonl", import.meta.url),
    "utf8"
  ).trim().split("\n").map((line) => JSON.parse(line))

  const textsOf = (who: string) =>
    recorded.flatMap(({ from, text }) => from === who && text !== undefined ? [text] : [])

  it("says everything the original broker says", () => {
    const [a, b] = ["e50afbc3-8f9f-4ffe-5b4b-af4ddd868f5f", "bda753b4-3788-478e-4df9-33a65af903ad"]
    const joe = { uid: "joe", data: { name: "Joe" } }
    const ann = { uid: "ann", data: { name: "Ann" } }
    const { authenticated, connected, subscribed, unsubscribed } = BrokerMessage
    const bad = BrokerMessage.error(new BadRequestError({ detail: "" }))
    const unauthorized = BrokerMessage.error(new UnauthorizedError({ detail: "" }))
    const forbidden = BrokerMessage.error(new ForbiddenError({ detail: "" }))
    const notSubscribed = BrokerMessage.error(new NotSubscribedError({ channel: "" }))
    const notFound = BrokerMessage.error(new ChannelNotFoundError({ channel: "" }))
    const said = [
      connected(a),
      connected(b),
      subscribed("room", undefined, undefined),
      subscribed("room", undefined, undefined),
      broadcast("hello", { what: "world" }, "room", a),
      broadcast("hello", { what: "world" }, "room", a),
      notSubscribed,
      notFound,
      bad,
      forbidden,
      forbidden,
      unauthorized,
      bad,
      authenticated(),
      subscribed("presence-room", "joe", listOf("presence-room", [])),
      memberJoined("presence-room", joe),
      authenticated(),
      subscribed("presence-room", "ann", listOf("presence-room", [joe])),
      memberJoined("presence-room", ann),
      memberJoined("presence-room", ann),
      broadcast("wave", { at: "Joe" }, "presence-room", b),
      broadcast("wave", { at: "Joe" }, "presence-room", b),
      bad,
      unsubscribed("presence-room"),
      memberLeft("presence-room", ann, { bye: true }),
      notSubscribed,
      notFound,
      bad,
      bad,
      bad,
      bad,
      forbidden,
      subscribed("private-room", "joe", undefined)
    ]
    expect(said.map((text) => JSON.parse(text))).toStrictEqual(textsOf("server").map((text) => JSON.parse(text)))
  })
})
