import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  connect,
  connectBrowser,
  Endpoint,
  type Frames,
  lobby,
  request,
  withEndpoint,
  worker
} from "../../../harness/backendEndpoint.ts"
import { event } from "../../../harness/backends.ts"
import { eventually } from "../../../harness/eventually.ts"
import { identity } from "../../../harness/identity.ts"

describe("BackendEndpoint, a Client", () => {
  it.effect("opens and closes channels", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      expect(yield* request("OC", "fresh")).toEqual(["OK"])
      expect(yield* request("OC", "fresh")).toEqual(["OK"])
      expect((yield* vhost.channels.list).map(({ name }) => name)).toContain("fresh")
      expect(yield* request("CC", "fresh")).toEqual(["OK"])
      expect(yield* request("CC", "fresh")).toEqual(["ER", "454"])
    }).pipe(withEndpoint()))

  it.effect("closes a channel, and its browsers are received", () =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      yield* request("OC", "short")
      yield* browser.send({ subscribe: { channel: "short" } })
      yield* browser.nextOf(":subscribed")
      yield* request("CC", "short")
      expect(yield* browser.next).toEqual({ ":unsubscribed": { channel: "short" } })
    }).pipe(withEndpoint()))

  it.effect.each<[string, string, object]>([
    ["an object", `{"what":"zażółć 🚀","n":[1,{}]}`, { what: "zażółć 🚀", n: [1, {}] }],
    ["an object with a claim", `{"channel":"x","sid":"y"}`, { sid: "y" }],
    ["an empty text", "", {}],
    ["a list", "[1]", {}],
    ["a text", `"text"`, {}],
    ["null", "null", {}],
    ["no JSON", "{what", {}],
    ["JSON that is too deep", `${"[".repeat(5000)}${"]".repeat(5000)}`, {}]
  ])("broadcasts data that are %s", ([_, data, received]) =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      yield* browser.send({ subscribe: { channel: "room" } })
      yield* browser.nextOf(":subscribed")
      expect(yield* request("BC", "room", "hello", data)).toEqual(["OK"])
      expect(yield* browser.next).toEqual({ hello: { ...received, channel: "room" } })
    }).pipe(withEndpoint()))

  it.effect("requests access tokens that browsers can use once", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* connectBrowser, yield* connectBrowser]
      const [word, accessToken] = yield* request("AT", "joe", "private-.*")
      expect([word, accessToken]).toEqual(["AT", expect.stringMatching(/^[0-9a-f]{128}$/)])
      yield* a.send({ auth: { token: accessToken } })
      expect(yield* a.next).toEqual({ ":authenticated": {} })
      yield* a.send({ subscribe: { channel: "private-room" } })
      expect(yield* a.next).toEqual({ ":subscribed": { channel: "private-room", uid: "joe" } })
      yield* b.send({ auth: { token: accessToken } })
      expect(yield* b.next).toEqual({ ":error": { code: 402, status: "Unauthorized" } })
    }).pipe(withEndpoint()))

  it.effect.each<[Frames, string]>([
    [["OC"], "400"],
    [["OC", ""], "400"],
    [["OC", "%%%"], "451"],
    [["OC", "a".repeat(256)], "451"],
    [["CC"], "400"],
    [["CC", ""], "400"],
    [["CC", "nope"], "454"],
    [["CC", "%%%"], "454"],
    [["CC", "__proto__"], "454"],
    [["BC"], "400"],
    [["BC", "room"], "400"],
    [["BC", "room", "hello"], "400"],
    [["BC", "", "hello", "{}"], "400"],
    [["BC", "room", "", "{}"], "400"],
    [["BC", "nope", "hello", "{}"], "454"],
    [["BC", "%%%", "hello", "{}"], "454"],
    [["AT"], "400"],
    [["AT", "joe"], "400"],
    [["AT", "", ".*"], "400"],
    [["AT", "joe", ""], "400"],
    [["AT", "joe", "..*{34}"], "597"],
    [["AT", "joe", "(?=a)"], "597"],
    [["AT", "joe", "a".repeat(1001)], "597"],
    [["BX"], "400"],
    [["BX", "room", "hello", "{}"], "400"],
    [["BX", "nope", "hello", "{}", "s"], "454"],
    [["BA"], "400"],
    [["BA", "not json"], "400"],
    [["BA", `[["room","hello"]]`], "400"],
    [["ST", "s"], "400"],
    [["ST", "s", "hello"], "400"],
    [["ST", "nobody", "hello", "{}"], "455"],
    [["DC"], "400"],
    [["DC", "nope"], "454"],
    [["LS"], "400"],
    [["LS", "nope"], "454"],
    [["DB"], "400"],
    [["DB", "all", "joe"], "400"],
    [["XX"], "400"],
    [["oc", "room"], "400"],
    [["OK"], "400"],
    [["TR", "{}"], "400"],
    [[""], "400"],
    [["__proto__"], "400"],
    // Commands of Workers.
    [["RD"], "400"],
    [["RD", "ack", "1", "{}"], "400"],
    [["AK", "a-1"], "400"],
    [["NK", "a-1", ""], "400"],
    [["HB"], "400"],
    [["QT"], "400"]
  ])("that sends %j gets ER %s", ([frames, code]) =>
    Effect.gen(function*() {
      expect(yield* request(...frames)).toEqual(["ER", code])
      expect((yield* lobby).workers).toEqual([])
    }).pipe(withEndpoint()))

  it.effect("excludes one browser from a broadcast", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* connectBrowser, yield* connectBrowser]
      for (const browser of [a, b]) {
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
      }
      expect(yield* request("BX", "room", "hello", `{"n":1}`, a.sid)).toEqual(["OK"])
      expect(yield* request("BC", "room", "next", "{}")).toEqual(["OK"])
      expect([yield* a.next, yield* b.next]).toEqual([
        { next: { channel: "room" } },
        { hello: { n: 1, channel: "room" } }
      ])
    }).pipe(withEndpoint()))

  it.effect("sends many broadcasts at once, and gets the outcome of each", () =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      yield* browser.send({ subscribe: { channel: "room" } })
      yield* browser.nextOf(":subscribed")
      const broadcasts = [["room", "a", { n: 1 }], ["nope", "b", {}], ["room", "c", {}, browser.sid], [
        "room",
        "d",
        {}
      ]]
      expect(yield* request("BA", JSON.stringify(broadcasts))).toEqual(["OK", "[204,454,204,204]"])
      expect([yield* browser.next, yield* browser.next]).toEqual([
        { a: { n: 1, channel: "room" } },
        { d: { channel: "room" } }
      ])
    }).pipe(withEndpoint()))

  it.effect("sends an event to one browser, and gets 455 when that has gone", () =>
    Effect.gen(function*() {
      const sid = yield* Effect.scoped(Effect.gen(function*() {
        const browser = yield* connectBrowser
        expect(yield* request("ST", browser.sid, "hello", `{"what":"zażółć 🚀","sid":"x"}`)).toEqual(["OK"])
        expect(yield* request("ST", browser.sid, "bare", "")).toEqual(["OK"])
        expect([yield* browser.next, yield* browser.next]).toEqual([
          { hello: { what: "zażółć 🚀", sid: "x" } },
          { bare: {} }
        ])
        return browser.sid
      }))
      const [, code] = yield* eventually(request("ST", sid, "hello", "{}"), ([word]) => word === "ER")
      expect(code).toBe("455")
    }).pipe(withEndpoint()))

  it.effect("lists channels and their subscribers", () =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      const [_, accessToken] = yield* request("AT", "joe", ".*")
      yield* request("OC", "presence-listed")
      yield* browser.send({ auth: { token: accessToken } })
      yield* browser.send({ subscribe: { channel: "presence-listed", data: { name: "Joe" } } })
      yield* browser.nextOf(":memberJoined")
      const info = { name: "presence-listed", subscribers: 1 }
      expect(yield* request("DC", "presence-listed")).toEqual(["OK", JSON.stringify(info)])
      expect(yield* request("LC", "presence-l", "0")).toEqual([
        "OK",
        JSON.stringify({ channels: [info], next: null })
      ])
      expect(yield* request("LC", "nope")).toEqual(["OK", JSON.stringify({ channels: [], next: null })])
      const [word, all] = yield* request("LC")
      expect([word, JSON.parse(all!)]).toMatchObject(["OK", { channels: [{ name: "room" }, {}, {}, info] }])
      expect(yield* request("LS", "presence-listed", "0")).toEqual([
        "OK",
        JSON.stringify({ subscribers: [{ sid: browser.sid, uid: "joe", data: { name: "Joe" } }], next: null })
      ])
      expect(yield* request("CC", "presence-listed")).toEqual(["OK"])
    }).pipe(withEndpoint()))

  it.effect("lists, replays and discards dead letters", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      for (const id of ["a-1", "a-2", "a-3", "a b"]) {
        yield* vhost.deadLetters.add({ id, json: event(1), origin: undefined, attempts: 1, reason: "no" })
      }
      const ids = Effect.map(request("LD", "0"), ([word, json]) => {
        expect(word).toBe("OK")
        const { deadLetters, next } = JSON.parse(json!) as {
          readonly deadLetters: ReadonlyArray<{ readonly id: string }>
          readonly next: null
        }
        expect(next).toBe(null)
        return deadLetters.map(({ id }) => id)
      })
      expect(yield* ids).toEqual(["a-1", "a-2", "a-3", "a b"])
      for (const word of ["RL", "DL"]) {
        expect(yield* request(word)).toEqual(["ER", "400"])
        expect(yield* request(word, "")).toEqual(["ER", "400"])
        expect(yield* request(word, "nope")).toEqual(["ER", "456"])
      }
      expect(yield* request("DL", "a b")).toEqual(["OK"])
      expect(yield* request("RL", "a-2", `{"traceparent":"x"}`)).toEqual(["OK"])
      expect(yield* ids).toEqual(["a-1", "a-3"])
      expect(yield* request("RL", "*")).toEqual(["OK", `{"replayed":2,"left":0}`])
      expect(yield* request("DL", "*")).toEqual(["OK", `{"discarded":0}`])
      // Three events are queued for a worker.
      const taking = yield* worker()
      for (const _ of [1, 2, 3]) expect(yield* taking.next).toEqual(["TR", event(1)])
      yield* taking.send("QT")
    }).pipe(withEndpoint()))

  it.effect("disconnects a browser, and all browsers of a user, with 4403", () =>
    Effect.gen(function*() {
      const [a, b, c] = [yield* connectBrowser, yield* connectBrowser, yield* connectBrowser]
      expect(yield* request("DB", "sid", a.sid)).toEqual(["OK", `{"disconnected":1}`])
      for (const browser of [b, c]) {
        const [_, accessToken] = yield* request("AT", "joe", ".*")
        yield* browser.send({ auth: { token: accessToken } })
        yield* browser.nextOf(":authenticated")
      }
      expect(yield* request("DB", "uid", "ann")).toEqual(["OK", `{"disconnected":0}`])
      expect(yield* request("DB", "uid", "joe")).toEqual(["OK", `{"disconnected":2}`])
      for (const browser of [a, b, c]) {
        expect(yield* browser.nextOf(":closed")).toEqual({ sid: browser.sid })
        expect(yield* browser.closed).toBe(4403)
      }
      const none = ["OK", `{"disconnected":0}`]
      yield* eventually(request("DB", "sid", a.sid), (answer) => answer[1] === none[1])
    }).pipe(withEndpoint()))

  it.effect("gets the same responses with a span behind the arguments", () =>
    Effect.gen(function*() {
      const span = `{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
      expect(yield* request("OC", "room", span)).toEqual(["OK"])
      expect(yield* request("BC", "room", "hello", "{}", span)).toEqual(["OK"])
      expect(yield* request("BX", "room", "hello", "{}", "s", span)).toEqual(["OK"])
      expect(yield* request("LC", "nope", "0", span)).toEqual(["OK", `{"channels":[],"next":null}`])
      expect(yield* request("DC", "nope", span)).toEqual(["ER", "454"])
    }).pipe(withEndpoint()))

  it.effect("may send more arguments than the broker knows", () =>
    Effect.gen(function*() {
      expect(yield* request("OC", "room", "later", "versions")).toEqual(["OK"])
      expect(yield* request("BC", "room", "hello", "{}", "x", "")).toEqual(["OK"])
    }).pipe(withEndpoint()))

  it.effect.each<[string, string]>([
    ["a wrong token", identity("req", { token: "0".repeat(40) })],
    ["an unknown vhost", identity("req", { vhost: "/nope" })],
    ["a Worker with a wrong token", identity("dlr", { token: "0".repeat(40) })],
    ["another kind", identity("req").replace("req", "xyz")],
    ["a short id", identity("req", { id: "1" })],
    ["a path that is none", identity("req", { vhost: "test" })],
    ["no identity at all", "hello"]
  ])("gets ER 402 with %s", ([_, who]) =>
    Effect.gen(function*() {
      for (const command of [["OC", "room"], ["RD"], ["HB"], ["nonsense"]]) {
        const backend = yield* connect(who)
        yield* backend.send(...command)
        expect(yield* backend.next).toEqual(["ER", "402"])
      }
      expect((yield* lobby).workers).toEqual([])
    }).pipe(withEndpoint()))

  it.effect("gets ER 597 beyond the limits of the vhost", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const open = (yield* vhost.channels.list).length
      for (let n = open; n < 50; n++) yield* vhost.channels.open(`filler${n}`)
      expect(yield* request("OC", "one-too-many")).toEqual(["ER", "597"])
      expect(yield* request("OC", "room")).toEqual(["OK"])
      yield* Effect.ignore(Effect.forever(vhost.accessTokens.issue("joe", ".*")))
      expect(yield* request("AT", "joe", ".*")).toEqual(["ER", "597"])
    }).pipe(withEndpoint({ maxChannels: 50, tokens: { capacity: 50 } })))
})
