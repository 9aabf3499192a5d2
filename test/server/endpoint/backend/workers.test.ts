import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import {
  connect,
  connectBrowser,
  Endpoint,
  enqueue,
  type Frames,
  lobby,
  request,
  withEndpoint,
  worker
} from "../../../harness/backendEndpoint.ts"
import { event } from "../../../harness/backends.ts"
import { identity } from "../../../harness/identity.ts"
import { token } from "../../../harness/TestBroker.ts"

describe("BackendEndpoint, a Worker", () => {
  it.effect("receives heartbeats and events, and leaves", () =>
    Effect.gen(function*() {
      const who = identity("dlr")
      const self = yield* worker(who)
      expect((yield* lobby).workers).toEqual([who.slice(-36)])
      yield* enqueue(event(1))
      expect(yield* self.next).toEqual(["TR", event(1)])
      yield* self.send("HB")
      expect(yield* self.next).toEqual(["HB"])
      yield* self.send("QT")
      expect((yield* lobby).workers.length).toBe(0)
      yield* enqueue(event(2))
      expect((yield* lobby).queued).toBe(1)
    }).pipe(withEndpoint()))

  it.effect("receives a heartbeat every interval, and QT after three that it missed", () =>
    Effect.gen(function*() {
      const self = yield* worker()
      for (let n = 0; n < 3; n++) {
        yield* TestClock.adjust("499 millis")
        yield* TestClock.adjust("1 millis")
        expect(yield* self.next).toEqual(["HB"])
      }
      expect((yield* lobby).workers.length).toBe(1)
      yield* TestClock.adjust("500 millis")
      expect(yield* self.next).toEqual(["QT"])
      expect((yield* lobby).workers).toEqual([])
      yield* enqueue(event(1))
      expect((yield* lobby).queued).toBe(1)
    }).pipe(withEndpoint()))

  it.effect("stays registered as long as it sends heartbeats", () =>
    Effect.gen(function*() {
      const self = yield* worker()
      for (let n = 0; n < 20; n++) {
        yield* self.send("HB")
        expect(yield* self.next).toEqual(["HB"])
        yield* TestClock.adjust("500 millis")
        expect(yield* self.next).toEqual(["HB"])
      }
      expect((yield* lobby).workers.length).toBe(1)
    }).pipe(withEndpoint()))

  it.effect("that sends HB and is unknown receives QT", () =>
    Effect.gen(function*() {
      const self = yield* connect(identity("dlr"))
      yield* self.send("HB")
      expect(yield* self.next).toEqual(["QT"])
      expect((yield* lobby).workers).toEqual([])
    }).pipe(withEndpoint()))

  it.effect.each<[Frames]>([
    [["OC", "room"]],
    [["BC", "room", "e", "{}"]],
    [["AT", "joe", ".*"]],
    [["AK"]],
    [["NK", "", "it failed"]],
    [["XX"]],
    [[""]]
  ])(
    "that sends %j gets ER 400",
    ([frames]) =>
      Effect.gen(function*() {
        const self = yield* worker()
        yield* self.send(...frames)
        expect(yield* self.next).toEqual(["ER", "400"])
      }).pipe(withEndpoint())
  )

  it.effect("receives what was queued before it registered, in order", () =>
    Effect.gen(function*() {
      const { vhost } = yield* Endpoint
      const browser = yield* connectBrowser
      const accessToken = yield* request("AT", "joe", ".*")
      yield* browser.send({ auth: { token: accessToken[1] } })
      for (let n = 0; n < 5; n++) yield* browser.send({ trigger: { event: "chat/save", data: { n } } })
      yield* browser.send({ trigger: { event: "too-much" } })
      yield* browser.nextOf(":authenticated")
      expect(yield* browser.next).toEqual({ ":error": { code: 597, status: "Internal error" } })
      expect((yield* vhost.lobby.info).queued).toBe(5)
      const self = yield* worker()
      for (let n = 0; n < 5; n++) {
        expect(yield* self.next).toEqual(["TR", JSON.stringify({ "chat/save": { n, sid: browser.sid } })])
      }
      yield* browser.send({ trigger: { event: "again" } })
      expect(yield* self.next).toEqual(["TR", JSON.stringify({ again: { sid: browser.sid } })])
    }).pipe(withEndpoint({ queue: { capacity: 5 } })))

  it.effect("receives the origin of an event if it sent options, and the original's words if not", () =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      const [_, accessToken] = yield* request("AT", "joe", ".*")
      yield* browser.send({ auth: { token: accessToken } })
      yield* browser.send({ subscribe: { channel: "room" } })
      const send = Effect.gen(function*() {
        yield* browser.send({ trigger: { event: "e", data: { uid: "root", channel: "forged" } } })
        yield* browser.send({ broadcast: { channel: "room", event: "b", trigger: "t", data: {} } })
      })
      const { sid } = browser
      const [e, t] = [{ e: { uid: "root", channel: "forged", sid } }, { t: { channel: "room", sid } }]
      for (const options of [`{"lifecycle":false}`, "{}", undefined]) {
        const who = identity("dlr")
        const self = yield* connect(who)
        yield* self.send("RD", ...(options === undefined ? [] : [options]))
        expect(yield* self.next).toEqual(["HB"])
        yield* self.send("HB")
        yield* send
        const [first, second] = [yield* self.next, yield* self.next]
        expect([first, second].map(([word, json]) => [word, JSON.parse(json!)])).toEqual([["TR", e], ["TR", t]])
        if (options === undefined) expect([first.length, second.length]).toEqual([2, 2])
        else {
          expect([first, second].map(([_word, _json, origin]) => JSON.parse(origin!) as unknown)).toEqual([
            { sid, uid: "joe" },
            { sid, uid: "joe", channel: "room" }
          ])
        }
        yield* self.send("QT")
        expect((yield* lobby).workers.length).toBe(0)
      }
    }).pipe(withEndpoint()))

  it.effect("receives lifecycle events if it takes them, each once, and others receive none", () =>
    Effect.gen(function*() {
      const [plain, bare, taker] = [
        yield* connect(identity("dlr")),
        yield* worker(),
        yield* connect(identity("dlr"))
      ]
      for (const [self, options] of [[plain, `{"lifecycle":false}`], [taker, `{"lifecycle":true}`]] as const) {
        yield* self.send("RD", options)
        expect(yield* self.next).toEqual(["HB"])
        yield* self.send("HB")
      }
      const browser = yield* connectBrowser
      const [_, accessToken] = yield* request("AT", "joe", ".*")
      yield* browser.send({ auth: { token: accessToken } })
      yield* browser.send({ subscribe: { channel: "presence-room", data: { name: "Joe" } } })
      yield* browser.nextOf(":memberJoined")
      yield* request("DB", "uid", "joe")
      yield* browser.closed
      const member = { channel: "presence-room", uid: "joe", data: { name: "Joe" } }
      const expected = [
        ["browserConnected", { sid: browser.sid }],
        ["channelOccupied", { channel: "presence-room" }],
        ["memberJoined", member],
        ["memberLeft", member],
        ["channelVacated", { channel: "presence-room" }],
        ["browserDisconnected", { sid: browser.sid, uid: "joe" }]
      ] as const
      for (const [name, data] of expected) {
        expect(yield* taker.next).toEqual(["TR", JSON.stringify({ [`:lifecycle/${name}`]: data })])
      }
      for (const n of [0, 1, 2]) yield* enqueue(event(n))
      const seen = [yield* plain.next, yield* bare.next, yield* taker.next]
      expect(seen.map(([_, json]) => json).toSorted()).toEqual([event(0), event(1), event(2)])
    }).pipe(withEndpoint()))

  it.effect("shares events with the others, round robin", () =>
    Effect.gen(function*() {
      const workers = [yield* worker(), yield* worker(), yield* worker()]
      for (let n = 0; n < 9; n++) yield* enqueue(event(n))
      for (let n = 0; n < 9; n++) expect(yield* workers[n % 3]!.next).toEqual(["TR", event(n)])
    }).pipe(withEndpoint()))

  it.effect("receives no event beyond the message limit: the browser gets an error", () =>
    Effect.gen(function*() {
      const self = yield* worker()
      const browser = yield* connectBrowser
      const [_, accessToken] = yield* request("AT", "joe", ".*")
      yield* browser.send({ auth: { token: accessToken } })
      yield* browser.nextOf(":authenticated")
      // Short as it is sent, and four times as long as JavaScript writes it.
      yield* browser.send(`{"trigger":{"event":"large","data":{"a":[${Array(380).fill("1e20").join()}]}}}`)
      yield* browser.send({ trigger: { event: "small" } })
      const [word, json] = yield* self.next
      expect([word, json!.length]).toEqual(["TR", JSON.stringify({ small: { sid: browser.sid } }).length])
      expect(yield* browser.next).toMatchObject({ ":error": {} })
    }).pipe(withEndpoint({ maxMessageSize: 2000 })))

  it.effect("is dismissed with its vhost, and unauthorized after that", () =>
    Effect.gen(function*() {
      const { vhosts } = yield* Endpoint
      const self = yield* worker()
      const other = yield* vhosts.add({ path: "/other", token })
      const elsewhere = yield* worker(identity("dlr", { vhost: "/other" }))
      yield* vhosts.remove("/test")
      expect(yield* self.next).toEqual(["QT"])
      const again = yield* connect(identity("dlr"))
      yield* again.send("RD")
      expect(yield* again.next).toEqual(["ER", "402"])
      yield* other.lobby.enqueue(event(1))
      expect(yield* elsewhere.next).toEqual(["TR", event(1)])
    }).pipe(withEndpoint()))
})
