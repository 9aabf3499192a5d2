import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import { readFileSync } from "node:fs"
import type { JsonObject } from "../../src/protocol/Json.ts"
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
import * as PageMessage from "../../src/protocol/PageMessage.ts"
import { FromPage } from "../../src/protocol/PageMessage.ts"
import { anyText, bytes, garbage, jsonObject, oddKeys, oneOf, pick } from "./arbitraries.ts"

const failureOf = (message: string | Uint8Array) => Result.getOrThrow(Result.flip(PageMessage.decode(message)))

const read = (message: string) => Result.getOrThrow(PageMessage.decode(message))

/** The only key of a message and its value. */
const entryOf = (message: string): readonly [event: string, payload: JsonObject] => {
  const [entry, ...more] = Object.entries(JSON.parse(message) as Record<string, JsonObject>)
  expect(more).toEqual([])
  return entry
}

/** An object without some keys, as entries, so that a key like `__proto__` cannot hide. */
const without = (object: JsonObject, ...keys: ReadonlyArray<string>) =>
  Object.entries(object).filter(([key]) => !keys.includes(key)).sort(([a], [b]) => a < b ? -1 : 1)

const name = Arbitrary.map(anyText, (text) => text === "" ? "x" : text)

/** A name that a page may give to an event. */
const eventName = Arbitrary.map(name, (text) => text.startsWith(":") ? `x${text}` : text)

/** Data that claims to be the system's. */
const forged: Arbitrary.Arbitrary<JsonObject> = Arbitrary.map(
  Arbitrary.all([
    jsonObject,
    Arbitrary.array(pick(["channel", "uid", "sid", "event", "subscribers"]), { maxLength: 5 })
  ]),
  ([data, keys]) => ({ ...data, ...Object.fromEntries(keys.map((key) => [key, "forged"])) })
)

describe("PageMessage", () => {
  it.each<[string, FromPage]>([
    [`{"auth":{"token":"abc"}}`, FromPage.Authenticate({ token: "abc" })],
    [`{"auth":{"token":""}}`, FromPage.Authenticate({ token: "" })],
    [`{"subscribe":{"channel":"room"}}`, FromPage.Subscribe({ channel: "room", hidden: false, data: {} })],
    [
      `{"subscribe":{"channel":"room","hidden":true,"data":{"a":1}}}`,
      FromPage.Subscribe({ channel: "room", hidden: true, data: { a: 1 } })
    ],
    [
      `{"subscribe":{"channel":"room","hidden":"true","data":[1]}}`,
      FromPage.Subscribe({ channel: "room", hidden: false, data: {} })
    ],
    [
      `{"subscribe":{"channel":"room","hidden":1,"data":null}}`,
      FromPage.Subscribe({ channel: "room", hidden: false, data: {} })
    ],
    [`{"unsubscribe":{"channel":"room"}}`, FromPage.Unsubscribe({ channel: "room", data: {} })],
    [`{"unsubscribe":{"channel":"room","data":{"a":1}}}`, FromPage.Unsubscribe({ channel: "room", data: { a: 1 } })],
    [`{"unsubscribe":{"channel":"room","data":"bye"}}`, FromPage.Unsubscribe({ channel: "room", data: {} })],
    [
      `{"broadcast":{"channel":"room","event":"hello"}}`,
      FromPage.Broadcast({ channel: "room", event: "hello", data: {}, trigger: undefined })
    ],
    [
      `{"broadcast":{"channel":"room","event":"hello","data":{"a":{}},"trigger":"chat/save"}}`,
      FromPage.Broadcast({ channel: "room", event: "hello", data: { a: {} }, trigger: "chat/save" })
    ],
    [
      `{"broadcast":{"channel":"room","event":"hello","data":7}}`,
      FromPage.Broadcast({ channel: "room", event: "hello", data: {}, trigger: undefined })
    ],
    [`{"trigger":{"event":"chat/save"}}`, FromPage.Trigger({ event: "chat/save", data: {} })],
    [`{"trigger":{"event":"chat/save","data":{"n":1}}}`, FromPage.Trigger({ event: "chat/save", data: { n: 1 } })],
    [`{"trigger":{"event":"chat/save","data":false}}`, FromPage.Trigger({ event: "chat/save", data: {} })],
    [`{"close":{}}`, FromPage.Close()],
    [` {"close" : {"why":"not"}}\n`, FromPage.Close()]
  ])("of a page is read: %s", (message, expected) => {
    expect(read(message)).toStrictEqual(expected)
  })

  it.prop("of a page is read with everything it brings", [name, eventName, jsonObject, pick([true, false])], ([
    channel,
    event,
    data,
    hidden
  ]) => {
    const token = event
    // Through text, for a `__proto__` among the data is compared as a key.
    for (
      const [sent, expected] of [
        [{ auth: { token } }, FromPage.Authenticate({ token })],
        [{ subscribe: { channel, hidden, data } }, FromPage.Subscribe({ channel, hidden, data })],
        [{ unsubscribe: { channel, data } }, FromPage.Unsubscribe({ channel, data })],
        [{ broadcast: { channel, event, data } }, FromPage.Broadcast({ channel, event, data, trigger: undefined })],
        [
          { broadcast: { channel, event, data, trigger: event } },
          FromPage.Broadcast({ channel, event, data, trigger: event })
        ],
        [{ trigger: { event, data } }, FromPage.Trigger({ event, data })]
      ] as const
    ) {
      const actual = read(JSON.stringify(sent))
      expect(actual).toEqual(expected)
      expect(JSON.stringify("data" in actual && actual.data)).toBe(JSON.stringify("data" in expected && expected.data))
    }
  })

  it.each([
    [`not json`, "JSON object with one key"],
    [``, "JSON object with one key"],
    [`null`, "JSON object with one key"],
    [`[]`, "JSON object with one key"],
    [`"subscribe"`, "JSON object with one key"],
    [`{}`, "JSON object with one key"],
    [`{"two":{},"keys":{}}`, "JSON object with one key"],
    [`{"close":{},"auth":{"token":"a"}}`, "JSON object with one key"],
    [`{"close":null}`, "JSON object with one key"],
    [`{"close":[]}`, "JSON object with one key"],
    [`{"subscribe":"room"}`, "JSON object with one key"],
    [`{"subscribe":{"channel":"room"}}{}`, "JSON object with one key"],
    [`{"subscribe":${"[".repeat(300)}${"]".repeat(300)}}`, "JSON object with one key"],
    [`{"subscribe":{"channel":"room","data":${"[".repeat(300)}${"]".repeat(300)}}}`, "JSON object with one key"],
    ["[".repeat(100_000), "JSON object with one key"],
    [`{"nonsense":{}}`, "unknown"],
    [`{"Close":{}}`, "unknown"],
    [`{":connected":{"sid":"a"}}`, "unknown"],
    [`{"__proto__":{}}`, "unknown"],
    [`{"constructor":{}}`, "unknown"],
    [`{"hasOwnProperty":{}}`, "unknown"],
    [`{"auth":{}}`, "auth"],
    [`{"auth":{"token":1}}`, "auth"],
    [`{"auth":{"token":null}}`, "auth"],
    [`{"auth":{"__proto__":{"token":"a"}}}`, "auth"],
    [`{"subscribe":{}}`, "subscribe"],
    [`{"subscribe":{"channel":""}}`, "subscribe"],
    [`{"subscribe":{"channel":["room"]}}`, "subscribe"],
    [`{"subscribe":{"__proto__":{"channel":"room"}}}`, "subscribe"],
    [`{"unsubscribe":{}}`, "unsubscribe"],
    [`{"unsubscribe":{"channel":""}}`, "unsubscribe"],
    [`{"broadcast":{}}`, "broadcast"],
    [`{"broadcast":{"channel":"room"}}`, "broadcast"],
    [`{"broadcast":{"event":"hello"}}`, "broadcast"],
    [`{"broadcast":{"channel":"room","event":""}}`, "broadcast"],
    [`{"broadcast":{"channel":"","event":"hello"}}`, "broadcast"],
    [`{"broadcast":{"channel":"room","event":{}}}`, "broadcast"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":1}}`, "trigger"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":""}}`, "trigger"],
    [`{"trigger":{}}`, "trigger"],
    [`{"trigger":{"event":""}}`, "trigger"],
    [`{"trigger":{"event":null}}`, "trigger"],
    [`{"broadcast":{"channel":"room","event":":memberLeft"}}`, "system"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":":memberLeft"}}`, "system"],
    [`{"trigger":{"event":":memberLeft"}}`, "system"]
  ])("of a page that is malformed is a bad request: %.60s", (message, detail) => {
    const failure = failureOf(message)
    expect(failure).toBeInstanceOf(BadRequestError)
    expect(failure.code).toBe(400)
    expect(failure.message).toContain(detail)
    expect(failure.message.length).toBeLessThan(300)
  })

  it.prop("of a page is a bad request where it is binary", [bytes], ([message]) => {
    expect(failureOf(message).message).toContain("binary")
    expect(failureOf(new TextEncoder().encode(`{"close":{}}`)).code).toBe(400)
  })

  it.prop("of a page is read from anything without throwing", [
    garbage,
    pick(["auth", "subscribe", "unsubscribe", "broadcast", "trigger", "close"]),
    jsonObject
  ], ([text, event, payload]) => {
    PageMessage.decode(text)
    PageMessage.decode(JSON.stringify({ [event]: payload }))
    PageMessage.decode(`{"${event}":${text}}`)
    PageMessage.decode(`{"${event}":{"channel":"a","event":"b","data":${text}}}`)
  }, { arbitrary: { runs: 300 } })

  it.effect("of a page fails with an error that catchTag finds", () =>
    Effect.fromResult(PageMessage.decode("not json")).pipe(
      Effect.catchTag("BadRequestError", (error) => Effect.succeed(PageMessage.error(error))),
      Effect.map((answer) => expect(answer).toBe(`{":error":{"code":400,"status":"Bad request"}}`))
    ))

  // --- What the broker says ------------------------------------------------------------------------------------------

  it.each<[string, string, unknown]>([
    ["connected", PageMessage.connected("s"), { ":connected": { sid: "s" } }],
    ["authenticated", PageMessage.authenticated, { ":authenticated": {} }],
    ["subscribed", PageMessage.subscribed("c", undefined, undefined), { ":subscribed": { channel: "c" } }],
    ["subscribed with a uid", PageMessage.subscribed("c", "joe", undefined), {
      ":subscribed": { channel: "c", uid: "joe" }
    }],
    ["subscribed without members", PageMessage.subscribed("c", "joe", []), {
      ":subscribed": { channel: "c", uid: "joe", subscribers: [] }
    }],
    ["subscribed with an empty uid", PageMessage.subscribed("c", "", []), {
      ":subscribed": { channel: "c", uid: "", subscribers: [] }
    }],
    [
      "subscribed with members",
      PageMessage.subscribed("c", "joe", [{ uid: "ann", data: { a: 1 } }, { uid: "bob", data: {} }]),
      {
        ":subscribed": {
          channel: "c",
          uid: "joe",
          subscribers: [{ channel: "c", uid: "ann", a: 1 }, { channel: "c", uid: "bob" }]
        }
      }
    ],
    ["unsubscribed", PageMessage.unsubscribed("c"), { ":unsubscribed": { channel: "c" } }],
    ["memberJoined", PageMessage.memberJoined("c", { uid: "ann", data: { a: 1 } }), {
      ":memberJoined": { channel: "c", uid: "ann", a: 1 }
    }],
    ["memberLeft", PageMessage.memberLeft("c", { uid: "ann", data: { a: 1, b: 1 } }, { b: 2, c: 3 }), {
      ":memberLeft": { channel: "c", uid: "ann", a: 1, b: 2, c: 3 }
    }],
    ["closed", PageMessage.closed("s"), { ":closed": { sid: "s" } }],
    ["a backend's broadcast", PageMessage.broadcast("e", { a: 1 }, "c"), { e: { a: 1, channel: "c" } }],
    ["a page's broadcast", PageMessage.broadcast("e", { a: 1 }, "c", "s"), { e: { a: 1, channel: "c", sid: "s" } }],
    ["an event for one page", PageMessage.direct("e", { channel: "c", sid: "s" }), { e: { channel: "c", sid: "s" } }],
    ["a trigger", PageMessage.triggered("e", { a: 1 }, "s"), { e: { a: 1, sid: "s" } }],
    ["a broadcast's trigger", PageMessage.triggered("e", { a: 1 }, "s", "c"), { e: { a: 1, sid: "s", channel: "c" } }]
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
    expect(JSON.parse(PageMessage.error(error))).toStrictEqual({ ":error": { code, status } })
  })

  it.prop("of the broker carries all data, and its own keys win", [name, name, name, forged, forged], ([
    channel,
    uid,
    sid,
    data,
    farewell
  ]) => {
    const member = { uid, data }

    const [joined, newcomer] = entryOf(PageMessage.memberJoined(channel, member))
    expect([joined, newcomer.channel, newcomer.uid]).toEqual([":memberJoined", channel, uid])
    expect(without(newcomer, "channel", "uid")).toEqual(without(data, "channel", "uid"))

    const [left, leaver] = entryOf(PageMessage.memberLeft(channel, member, farewell))
    expect([left, leaver.channel, leaver.uid]).toEqual([":memberLeft", channel, uid])
    expect(without(leaver, "channel", "uid")).toEqual(without({ ...data, ...farewell }, "channel", "uid"))

    const [, { subscribers, ...subscription }] = entryOf(PageMessage.subscribed(channel, uid, [member, member]))
    expect(subscription).toEqual({ channel, uid })
    for (const one of subscribers as unknown as ReadonlyArray<JsonObject>) {
      expect([one.channel, one.uid]).toEqual([channel, uid])
      expect(without(one, "channel", "uid")).toEqual(without(data, "channel", "uid"))
    }

    const [, sent] = entryOf(PageMessage.broadcast("e", data, channel, sid))
    expect([sent.channel, sent.sid]).toEqual([channel, sid])
    expect(without(sent, "channel", "sid")).toEqual(without(data, "channel", "sid"))

    const [, triggered] = entryOf(PageMessage.triggered("e", data, sid, channel))
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
      expect(heard(PageMessage.broadcast("e", text, "c", sid))).toBe(heard(PageMessage.broadcast("e", data, "c", sid)))
    }
    expect(heard(PageMessage.direct("e", text))).toBe(heard(PageMessage.direct("e", data)))
  })

  it.each([
    [`{"a":1}`, `{"e":{"a":1,"channel":"c"}}`],
    [`{"a":{"b":"}"}} `, `{"e":{"a":{"b":"}"},"channel":"c"}}`],
    [`{"chann\\u0065l":"x","a":1}`, `{"e":{"channel":"c","a":1}}`],
    [`{"a":{"channel":"x"}}`, `{"e":{"a":{"channel":"x"},"channel":"c"}}`],
    [`{}`, `{"e":{"channel":"c"}}`],
    [``, `{"e":{"channel":"c"}}`],
    [`[{"a":1}]`, `{"e":{"channel":"c"}}`],
    [`{"a":1}}`, `{"e":{"channel":"c"}}`],
    [`{"a":1},"b":{}`, `{"e":{"channel":"c"}}`],
    [`{"a":`.repeat(300) + "1" + "}".repeat(300), `{"e":{"channel":"c"}}`]
  ])("of the broker has what is the text of an object, %s", (text, message) => {
    expect(PageMessage.broadcast("e", text, "c")).toBe(message)
  })

  it.prop(
    "of the broker has any event's name",
    [oneOf(anyText, pick(oddKeys)), jsonObject, name],
    ([event, data, channel]) => {
      // Halves of characters travel as escapes, which is what makes them arrive.
      for (
        const message of [
          PageMessage.broadcast(event, data, channel),
          PageMessage.triggered(event, data, "s"),
          PageMessage.direct(event, data)
        ]
      ) {
        expect(message.isWellFormed()).toBe(true)
        expect(entryOf(message)[0]).toBe(event)
      }
      expect(PageMessage.direct(event, data)).toBe(`{${JSON.stringify(event)}:${JSON.stringify(data)}}`)
    }
  )

  it.each(oddKeys.filter((key) => key !== ""))("takes %j for a name like any other", (key) => {
    const quoted = JSON.stringify(key)
    const data = `{${quoted}:{"polluted":true}}`
    const message = read(`{"broadcast":{"channel":${quoted},"event":${quoted},"data":${data},"trigger":${quoted}}}`)
    if (message._tag !== "Broadcast") return expect.unreachable()
    expect([message.channel, message.event, message.trigger]).toEqual([key, key, key])
    expect(JSON.stringify(message.data)).toBe(data)
    expect(Object.getPrototypeOf(message.data)).toBe(Object.prototype)
    expect(PageMessage.broadcast(key, message.data, key)).toBe(
      `{${quoted}:{${quoted}:{"polluted":true},"channel":${quoted}}}`
    )
    expect(PageMessage.triggered(key, message.data, "s")).toBe(`{${quoted}:{${quoted}:{"polluted":true},"sid":"s"}}`)
    for (
      const written of [
        PageMessage.memberJoined("c", { uid: "u", data: message.data }),
        PageMessage.memberLeft("c", { uid: "u", data: message.data }, {}),
        PageMessage.memberLeft("c", { uid: "u", data: {} }, message.data),
        PageMessage.subscribed("c", "u", [{ uid: "u", data: message.data }])
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

  it("reads everything the original's browsers say", () => {
    const { Authenticate, Broadcast, Close, Subscribe, Trigger, Unsubscribe } = FromPage
    const tokens = [
      "3627abc1b36c68d96c99cf61f0c721303d8c7719d7db97b093463437490b3a65" +
      "f0d2d9a4392e8219e92cf222c53e8a33bf47079adf1d61447c4878765f61c2e7",
      "3216affd7ac577ab594c8abd50fdf90b2dd60ba88f46c1ed6390df9317639b08" +
      "5bf429108b3f26ca8a9b6aef86525d0e53e95f8bcf71d5179d9271c06e99859d"
    ]
    const subscribe = (channel: string, data: JsonObject = {}) => Subscribe({ channel, hidden: false, data })
    const broadcast = (channel: string, event: string, data: JsonObject = {}) =>
      Broadcast({ channel, event, data, trigger: undefined })
    expect(textsOf("browser").map((text) => Result.getOrElse(PageMessage.decode(text), ({ code }) => code)))
      .toStrictEqual([
        subscribe("room"),
        subscribe("room"),
        subscribe("room"),
        broadcast("room", "hello", { what: "world" }),
        broadcast("presence-room", "hello"),
        broadcast("nope", "hello"),
        400,
        Trigger({ event: "chat/save", data: { n: 1 } }),
        subscribe("presence-room"),
        Authenticate({ token: "nope" }),
        400,
        Authenticate({ token: tokens[0] }),
        subscribe("presence-room", { name: "Joe" }),
        Authenticate({ token: tokens[1] }),
        subscribe("presence-room", { name: "Ann" }),
        broadcast("presence-room", "wave", { at: "Joe" }),
        400,
        Unsubscribe({ channel: "presence-room", data: { bye: true } }),
        Unsubscribe({ channel: "presence-room", data: {} }),
        Unsubscribe({ channel: "nope", data: {} }),
        400,
        400,
        400,
        400,
        subscribe("private-room"),
        subscribe("private-room"),
        Close()
      ])
  })

  it("answers what it cannot read as the original broker does", () => {
    let count = 0
    for (const [index, { from, text }] of recorded.entries()) {
      if (from !== "browser" || text === undefined) continue
      const result = PageMessage.decode(text)
      if (Result.isSuccess(result)) continue
      expect(JSON.parse(PageMessage.error(result.failure))).toEqual(JSON.parse(recorded[index + 1].text!))
      count++
    }
    expect(count).toBe(7)
  })

  it("says everything the original broker says", () => {
    const [a, b] = ["e50afbc3-8f9f-4ffe-5b4b-af4ddd868f5f", "bda753b4-3788-478e-4df9-33a65af903ad"]
    const joe = { uid: "joe", data: { name: "Joe" } }
    const ann = { uid: "ann", data: { name: "Ann" } }
    const { authenticated, broadcast, connected, memberJoined, memberLeft, subscribed, unsubscribed } = PageMessage
    const bad = PageMessage.error(new BadRequestError({ detail: "" }))
    const unauthorized = PageMessage.error(new UnauthorizedError({ detail: "" }))
    const forbidden = PageMessage.error(new ForbiddenError({ detail: "" }))
    const notSubscribed = PageMessage.error(new NotSubscribedError({ channel: "" }))
    const notFound = PageMessage.error(new ChannelNotFoundError({ channel: "" }))
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
      authenticated,
      subscribed("presence-room", "joe", []),
      memberJoined("presence-room", joe),
      authenticated,
      subscribed("presence-room", "ann", [joe]),
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
