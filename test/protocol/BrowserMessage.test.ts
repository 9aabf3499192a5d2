import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import { readFileSync } from "node:fs"
import * as BrokerMessage from "../../src/protocol/BrokerMessage.ts"
import * as BrowserMessage from "../../src/protocol/BrowserMessage.ts"
import { FromBrowser } from "../../src/protocol/BrowserMessage.ts"
import type { JsonObject } from "../../src/protocol/Json.ts"
import * as JsonText from "../../src/protocol/JsonText.ts"
import { BadRequestError } from "../../src/protocol/KosmonautError.ts"
import { anyText, bytes, garbage, jsonObject, pick } from "./arbitraries.ts"

const failureOf = (message: string | Uint8Array) => Result.getOrThrow(Result.flip(BrowserMessage.decode(message)))

const read = (message: string) => Result.getOrThrow(BrowserMessage.decode(message))

const data = (object: JsonObject = {}) => JsonText.fromObject(object)

/** As it is read: what is absent is `undefined`. */
const trigger = (message: Omit<Parameters<typeof FromBrowser.Trigger>[0], "_tag">) =>
  FromBrowser.Trigger({ dedupeKey: undefined, traceparent: undefined, id: undefined, ...message })

const name = Arbitrary.map(anyText, (text) => text === "" ? "x" : text)

/** A name that a browser may give to an event. */
const eventName = Arbitrary.map(name, (text) => text.startsWith(":") ? `x${text}` : text)

describe("BrowserMessage", () => {
  it.each<[string, FromBrowser]>([
    [`{"auth":{"token":"abc"}}`, FromBrowser.Authenticate({ token: "abc" })],
    [`{"subscribe":{"channel":"room"}}`, FromBrowser.Subscribe({ channel: "room", hidden: false, data: data() })],
    [
      `{"subscribe":{"channel":"room","hidden":true,"data":{"a":1}}}`,
      FromBrowser.Subscribe({ channel: "room", hidden: true, data: data({ a: 1 }) })
    ],
    [
      `{"subscribe":{"channel":"room","hidden":"true","data":{}}}`,
      FromBrowser.Subscribe({ channel: "room", hidden: false, data: data() })
    ],
    [
      `{"subscribe":{"channel":"room","hidden":1,"data":null}}`,
      FromBrowser.Subscribe({ channel: "room", hidden: false, data: data() })
    ],
    [`{"unsubscribe":{"channel":"room"}}`, FromBrowser.Unsubscribe({ channel: "room", data: data() })],
    [
      `{"unsubscribe":{"channel":"room","data":{"a":1}}}`,
      FromBrowser.Unsubscribe({ channel: "room", data: data({ a: 1 }) })
    ],
    [`{"unsubscribe":{"channel":"room","data":null}}`, FromBrowser.Unsubscribe({ channel: "room", data: data() })],
    [
      `{"broadcast":{"channel":"room","event":"hello"}}`,
      FromBrowser.Broadcast({ channel: "room", event: "hello", data: data(), trigger: undefined })
    ],
    [
      `{"broadcast":{"channel":"room","event":"hello","data":{"a":{}},"trigger":"chat/save"}}`,
      FromBrowser.Broadcast({ channel: "room", event: "hello", data: data({ a: {} }), trigger: "chat/save" })
    ],
    [
      `{"broadcast":{"channel":"room","event":"hello","data":null}}`,
      FromBrowser.Broadcast({ channel: "room", event: "hello", data: data(), trigger: undefined })
    ],
    [`{"trigger":{"event":"chat/save"}}`, trigger({ event: "chat/save", data: data() })],
    [
      `{"trigger":{"event":"chat/save","data":{"n":1}}}`,
      trigger({ event: "chat/save", data: data({ n: 1 }) })
    ],
    [`{"trigger":{"event":"chat/save","data":null}}`, trigger({ event: "chat/save", data: data() })],
    [
      `{"trigger":{"event":"chat/save","dedupeKey":"k","traceparent":"00-a","id":1}}`,
      trigger({ event: "chat/save", data: data(), dedupeKey: "k", traceparent: "00-a", id: 1 })
    ],
    // What cannot be a span is left out.
    [`{"trigger":{"event":"x","traceparent":1}}`, trigger({ event: "x", data: data() })],
    [
      `{"trigger":{"event":"x","traceparent":"${"a".repeat(101)}"}}`,
      trigger({ event: "x", data: data() })
    ],
    [
      `{"request":{"event":"x","traceparent":"00-a","id":1}}`,
      FromBrowser.Request({ event: "x", data: data(), timeout: 5000, traceparent: "00-a", id: 1 })
    ],
    [`{"close":{}}`, FromBrowser.Close()],
    [` {"close" : {"why":"not"}}\n`, FromBrowser.Close()]
  ])("of a browser is read: %s", (message, expected) => {
    expect(read(message)).toStrictEqual(expected)
  })

  it.prop("of a browser is read with everything it brings", [name, eventName, jsonObject, pick([true, false])], ([
    channel,
    event,
    sent,
    hidden
  ]) => {
    const token = event
    const text = data(sent)
    for (
      const [message, expected] of [
        [{ auth: { token } }, FromBrowser.Authenticate({ token })],
        [{ subscribe: { channel, hidden, data: sent } }, FromBrowser.Subscribe({ channel, hidden, data: text })],
        [{ unsubscribe: { channel, data: sent } }, FromBrowser.Unsubscribe({ channel, data: text })],
        [
          { broadcast: { channel, event, data: sent } },
          FromBrowser.Broadcast({ channel, event, data: text, trigger: undefined })
        ],
        [
          { broadcast: { channel, event, data: sent, trigger: event } },
          FromBrowser.Broadcast({ channel, event, data: text, trigger: event })
        ],
        [{ trigger: { event, data: sent } }, trigger({ event, data: text })]
      ] as const
    ) expect(read(JSON.stringify(message))).toEqual(expected)
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
    [`{"auth":{"token":""}}`, "auth"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":true}}`, "trigger"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":{}}}`, "trigger"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":["x"]}}`, "trigger"],
    [`{"trigger":{"event":"x","data":"hi"}}`, "data is a JSON object"],
    [`{"trigger":{"event":"x","data":false}}`, "data is a JSON object"],
    [`{"broadcast":{"channel":"room","event":"x","data":5}}`, "data is a JSON object"],
    [`{"subscribe":{"channel":"room","data":[1]}}`, "data is a JSON object"],
    [`{"unsubscribe":{"channel":"room","data":"bye"}}`, "data is a JSON object"],
    [`{"trigger":{"event":"x","dedupeKey":""}}`, "a dedupeKey is"],
    [`{"trigger":{"event":"x","dedupeKey":1}}`, "a dedupeKey is"],
    [`{"trigger":{"event":"x","dedupeKey":null}}`, "a dedupeKey is"],
    [`{"trigger":{"event":"x","dedupeKey":"${"a".repeat(256)}"}}`, "a dedupeKey is"],
    [`{"trigger":{"event":"x","id":{}}}`, "an id is"],
    [`{"trigger":{"event":"x","id":null}}`, "an id is"],
    [`{"trigger":{"event":"x","id":1.5}}`, "an id is"],
    [`{"trigger":{"event":"x","id":9007199254740992}}`, "an id is"],
    [`{"subscribe":{"channel":"room","id":"${"x".repeat(101)}"}}`, "an id is"],
    [`{"members":{}}`, "members"],
    [`{"members":{"channel":"presence-room","after":"1"}}`, "after"],
    [`{"members":{"channel":"presence-room","after":0.5}}`, "after"],
    [`{"auth":{"token":"a","client":7}}`, "client"],
    [`{"auth":{"token":"a","client":""}}`, "client"],
    [`{"auth":{"token":"a","client":"${"x".repeat(101)}"}}`, "client"],
    [`{"request":{}}`, "request"],
    [`{"request":{"event":"x"}}`, "id"],
    [`{"request":{"id":1}}`, "event"],
    [`{"request":{"event":"","id":1}}`, "event"],
    [`{"request":{"event":":x","id":1}}`, "reserved"],
    [`{"request":{"event":"x","id":1,"timeout":0}}`, "timeout"],
    [`{"request":{"event":"x","id":1,"timeout":"5"}}`, "timeout"],
    [`{"request":{"event":"x","id":1,"timeout":null}}`, "timeout"],
    [`{"request":{"event":"x","id":1,"timeout":1e999}}`, "timeout"],
    [`{"request":{"event":"x","id":1,"timeout":3600001}}`, "timeout"],
    [`{"request":{"event":"x","id":1,"data":[]}}`, "data is a JSON object"],
    [`{"request":{"event":"x","id":{}}}`, "an id is"],
    [`{"cancel":{}}`, "cancel"],
    [`{"trigger":{}}`, "trigger"],
    [`{"trigger":{"event":""}}`, "trigger"],
    [`{"trigger":{"event":null}}`, "trigger"],
    [`{"broadcast":{"channel":"room","event":":memberLeft"}}`, "reserved"],
    [`{"broadcast":{"channel":"room","event":"hello","trigger":":memberLeft"}}`, "reserved"],
    [`{"trigger":{"event":":memberLeft"}}`, "reserved"]
  ])("of a browser that is malformed is a bad request: %.60s", (message, detail) => {
    const failure = failureOf(message)
    expect(failure).toBeInstanceOf(BadRequestError)
    expect(failure.code).toBe(400)
    expect(failure.message).toContain(detail)
    expect(failure.message.length).toBeLessThan(300)
  })

  it.prop("of a browser is a bad request where it is binary", [bytes], ([message]) => {
    expect(failureOf(message).message).toContain("binary")
    expect(failureOf(new TextEncoder().encode(`{"close":{}}`)).code).toBe(400)
  })

  it.prop("of a browser is read from anything without throwing", [
    garbage,
    pick(["auth", "subscribe", "unsubscribe", "broadcast", "trigger", "request", "cancel", "close"]),
    jsonObject
  ], ([text, event, payload]) => {
    BrowserMessage.decode(text)
    BrowserMessage.decode(JSON.stringify({ [event]: payload }))
    BrowserMessage.decode(`{"${event}":${text}}`)
    BrowserMessage.decode(`{"${event}":{"channel":"a","event":"b","data":${text}}}`)
  }, { arbitrary: { runs: 300 } })

  it.effect("of a browser fails with an error that catchTag finds", () =>
    Effect.fromResult(BrowserMessage.decode("not json")).pipe(
      Effect.catchTag("BadRequestError", (error) => Effect.succeed(BrokerMessage.error(error))),
      Effect.map((answer) => expect(answer).toBe(`{":error":{"code":400,"status":"Bad request"}}`))
    ))

  it.each([null, false, "", 0, 7])("of a browser that broadcasts with the trigger %j triggers nothing", (trigger) => {
    expect(read(JSON.stringify({ broadcast: { channel: "room", event: "hello", trigger } }))).toStrictEqual(
      FromBrowser.Broadcast({ channel: "room", event: "hello", data: data(), trigger: undefined })
    )
  })

  it.each<[string, FromBrowser]>([
    [`{"members":{"channel":"presence-room"}}`, FromBrowser.Members({ channel: "presence-room", after: 0 })],
    [
      `{"members":{"channel":"presence-room","after":7,"id":1}}`,
      FromBrowser.Members({ channel: "presence-room", after: 7, id: 1 })
    ],
    [`{"ping":{}}`, FromBrowser.Ping({})],
    [`{"ping":{"id":"a"}}`, FromBrowser.Ping({ id: "a" })],
    [
      `{"auth":{"token":"abc","client":"${"x".repeat(100)}","id":1}}`,
      FromBrowser.Authenticate({ token: "abc", client: "x".repeat(100), id: 1 })
    ],
    [
      `{"request":{"event":"chat/rename","data":{"n":1.0},"id":"a","timeout":250}}`,
      FromBrowser.Request({
        event: "chat/rename",
        data: new JsonText.ObjectText(`{"n":1.0}`),
        traceparent: undefined,
        timeout: 250,
        id: "a"
      })
    ],
    [
      `{"request":{"event":"chat/rename","id":7}}`,
      FromBrowser.Request({ event: "chat/rename", data: data(), timeout: 5000, traceparent: undefined, id: 7 })
    ],
    [`{"cancel":{"id":7}}`, FromBrowser.Cancel({ id: 7 })],
    [`{"auth":{"token":"abc","id":-1}}`, FromBrowser.Authenticate({ token: "abc", id: -1 })],
    [
      `{"subscribe":{"channel":"room","id":"${"x".repeat(100)}"}}`,
      FromBrowser.Subscribe({ channel: "room", hidden: false, data: data(), id: "x".repeat(100) })
    ]
  ])("of a browser of ours is read: %.60s", (message, expected) => {
    expect(read(message)).toStrictEqual(expected)
  })

  it.each([
    [`{"trigger":{"event":"x","data":{"n":9007199254740993,"big":1e400,"one":1.0}}}`],
    [`{"trigger":{"event":"x","data":{"a":1},"data":{"n":9007199254740993,"big":1e400,"one":1.0}}}`],
    [`{"trigger":{"data":{"x":1}},"trigger":{"event":"x","data":{"n":9007199254740993,"big":1e400,"one":1.0}}}`],
    [`{"trigger":{"event":"x","d\\u0061ta":{"n":9007199254740993,"big":1e400,"one":1.0}}}`]
  ])("of a browser keeps its data as the text that came: %s", (message) => {
    expect(read(message)).toStrictEqual(trigger({
      event: "x",
      data: new JsonText.ObjectText(`{"n":9007199254740993,"big":1e400,"one":1.0}`)
    }))
  })

  it("of a browser has its data in one line, which a frame over classic TCP needs", () => {
    expect(read(`{"trigger":{"event":"x","data":{\r\n"a":\n"b\\nc"}}}`)).toStrictEqual(
      trigger({ event: "x", data: new JsonText.ObjectText(`{  "a": "b\\nc"}`) })
    )
  })

  it("of a browser is Unicode", () => {
    expect(failureOf(`{"trigger":{"event":"x","data":{"a":"\ud800"}}}`).detail).toContain("Unicode")
    expect(read(`{"trigger":{"event":"x","data":{"a":"\\ud800"}}}`)._tag).toBe("Trigger")
  })

  it("repeats of a message in an error only what it may have", () => {
    const about = (message: string) => BrowserMessage.aboutOf(Result.getOrThrow(BrowserMessage.read(message)))
    expect(about(`{"subscribe":{"channel":"room","id":7}}`)).toEqual({ event: "subscribe", channel: "room", id: 7 })
    expect(about(`{"${"x".repeat(1000)}":{"channel":"${"x".repeat(256)}","id":{}}}`)).toEqual({})
    expect(about(`{"auth":{"token":"secret"}}`)).toEqual({ event: "auth" })
  })

  it.each<[string, ReadonlyArray<string> | string | undefined]>([
    [`{"close":{}}`, undefined],
    [`"["`, undefined],
    [` [{"close":{}} , {"ping":{ }}]`, [`{"close":{}}`, `{"ping":{ }}`]],
    [`[]`, []],
    [`[1,"],[",[]]`, ["1", `"],["`, "[]"]],
    [`[{"close":{}},]`, "JSON array"],
    [`[{"close":{}}`, "JSON array"],
    [`[{"close":{}}]]`, "JSON array"],
    [`[${Array.from({ length: 257 }, () => "1").join()}]`, "at most 256"],
    ["[".repeat(300) + "]".repeat(300), "JSON array"],
    [`[{"ping":{}},{"trigger":{"event":"\ud800"}}]`, "Unicode"]
  ])("of a browser may be a batch: %.40s", (message, expected) => {
    const batch = BrowserMessage.batch(message)
    if (batch === undefined) expect(expected).toBeUndefined()
    else if (Result.isSuccess(batch)) expect(batch.success).toEqual(Array.from(expected ?? [], BrowserMessage.read))
    else expect(batch.failure.detail).toContain(expected)
  })

  // --- The original --------------------------------------------------------------------------------------------------

  const recorded: ReadonlyArray<{ readonly from: string; readonly text?: string }> = readFileSync(
    new URL("../fixtures/original-browser-exchange.jsonl", import.meta.url),
    "utf8"
  ).trim().split("\n").map((line) => JSON.parse(line))

  const textsOf = (who: string) =>
    recorded.flatMap(({ from, text }) => from === who && text !== undefined ? [text] : [])

  it("reads everything the original's browsers say", () => {
    const { Authenticate, Broadcast, Close, Subscribe, Unsubscribe } = FromBrowser
    const tokens = [
      "3627abc1b36c68d96c99cf61f0c721303d8c7719d7db97b093463437490b3a65" +
      "f0d2d9a4392e8219e92cf222c53e8a33bf47079adf1d61447c4878765f61c2e7",
      "3216affd7ac577ab594c8abd50fdf90b2dd60ba88f46c1ed6390df9317639b08" +
      "5bf429108b3f26ca8a9b6aef86525d0e53e95f8bcf71d5179d9271c06e99859d"
    ]
    const subscribe = (channel: string, sent: JsonObject = {}) =>
      Subscribe({ channel, hidden: false, data: data(sent) })
    const broadcast = (channel: string, event: string, sent: JsonObject = {}) =>
      Broadcast({ channel, event, data: data(sent), trigger: undefined })
    expect(textsOf("browser").map((text) => Result.getOrElse(BrowserMessage.decode(text), ({ code }) => code)))
      .toStrictEqual([
        subscribe("room"),
        subscribe("room"),
        subscribe("room"),
        broadcast("room", "hello", { what: "world" }),
        broadcast("presence-room", "hello"),
        broadcast("nope", "hello"),
        400,
        trigger({ event: "chat/save", data: data({ n: 1 }) }),
        subscribe("presence-room"),
        Authenticate({ token: "nope" }),
        400,
        Authenticate({ token: tokens[0] }),
        subscribe("presence-room", { name: "Joe" }),
        Authenticate({ token: tokens[1] }),
        subscribe("presence-room", { name: "Ann" }),
        broadcast("presence-room", "wave", { at: "Joe" }),
        400,
        Unsubscribe({ channel: "presence-room", data: data({ bye: true }) }),
        Unsubscribe({ channel: "presence-room", data: data() }),
        Unsubscribe({ channel: "nope", data: data() }),
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
      const result = BrowserMessage.decode(text)
      if (Result.isSuccess(result)) continue
      expect(JSON.parse(BrokerMessage.error(result.failure))).toEqual(JSON.parse(recorded[index + 1].text!))
      count++
    }
    expect(count).toBe(7)
  })
})
