/** Messages of browsers, each once, whole and in order. */
import { describe, expect, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { eventually } from "../../../harness/eventually.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"
import * as RawWebSocket from "../../../harness/RawWebSocket.ts"
import { layer as testBroker, TestBroker } from "../../../harness/TestBroker.ts"
import {
  connectBrowser,
  grant,
  rawBrowser,
  stillServes,
  subscribe,
  subscribers
} from "../../../harness/webSocketBrowsers.ts"

describe("WebSocketEndpoint", () => {
  layer(testBroker(), { excludeTestServices: true })("messages", (it) => {
    it.effect("carries messages of any length, each once and whole", () =>
      Effect.gen(function*() {
        const [a, b] = [yield* connectBrowser, yield* connectBrowser]
        yield* subscribe(a, "room")
        yield* subscribe(b, "room")
        // The frame's length is written in three ways; these are at their borders.
        const empty = JSON.stringify({ e: { text: "", channel: "room", sid: a.sid } }).length
        for (const length of [124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 500_000]) {
          const text = "x".repeat(length - empty)
          yield* a.send({ broadcast: { channel: "room", event: "e", data: { text } } })
          for (const browser of [a, b]) {
            expect(yield* browser.next).toEqual({ e: { text, channel: "room", sid: a.sid } })
          }
        }
        const text = "zażółć \u{1F680} \u2028\0\n"
        yield* a.send({ broadcast: { channel: "room", event: "ż", data: { text } } })
        expect(yield* b.next).toEqual({ ż: { text, channel: "room", sid: a.sid } })
      }))

    it.effect("handles one browser's messages in their order, however many at once", () =>
      Effect.gen(function*() {
        const [a, b] = [yield* connectBrowser, yield* connectBrowser]
        yield* subscribe(b, "room")
        yield* a.send({ subscribe: { channel: "room" } })
        for (let n = 0; n < 1000; n++) yield* a.send({ broadcast: { channel: "room", event: "n", data: { n } } })
        yield* a.send({ unsubscribe: { channel: "room" } })
        for (let n = 0; n < 1000; n++) {
          expect(yield* b.next).toEqual({ n: { n, channel: "room", sid: a.sid } })
        }
        expect(yield* a.next).toEqual({ ":subscribed": { channel: "room" } })
        yield* a.nextOf(":unsubscribed")
      }))

    it.effect("gives other browsers their turn, however much one sends at once", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const raw = yield* rawBrowser
        yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
        // How many messages are handled in each turn of the event loop, in which all sockets are served.
        let turns = 0
        let ticking = true
        const tick = (): void => {
          turns++
          if (ticking) setImmediate(tick)
        }
        tick()
        const handled = new Map<number, number>()
        const observer = FakeBrowser.make("observer", () => handled.set(turns, (handled.get(turns) ?? 0) + 1))
        yield* vhost.channels.subscribe("room", observer, { permission: undefined, hidden: false, data: {} })
        const message = Buffer.from(`{"broadcast":{"channel":"room","event":"n"}}`)
        const frame = Buffer.concat([RawWebSocket.header(1, message.length), message])
        yield* raw.sendBytes(Buffer.concat(Array.from({ length: 5000 }, () => frame)))
        const total = Effect.sync(() => [...handled.values()].reduce((sum, count) => sum + count, 0))
        // `:subscribed` is one of them.
        yield* eventually(total, (count) => count === 5001)
        ticking = false
        yield* vhost.channels.leave(observer)
        // As many as a turn has time for.
        expect(Math.max(...handled.values())).toBeLessThanOrEqual(2500)
      }))

    it.effect.each<[string, Uint8Array]>([
      ["sends a close", Buffer.concat([RawWebSocket.header(8, 2), Buffer.from([0x03, 0xe8])])],
      ["sends what is no frame", RawWebSocket.header(3, 0)],
      ["goes without a word", new Uint8Array(0)]
    ])("handles everything that a browser has sent before it %s", ([_, last]) =>
      Effect.gen(function*() {
        const [stays, goes] = [yield* connectBrowser, yield* rawBrowser]
        yield* subscribe(stays, "room")
        yield* goes.send(1, `{"subscribe":{"channel":"room"}}`)
        yield* goes.next
        const frames = Array.from({ length: 500 }, (_, n) => {
          const message = Buffer.from(`{"broadcast":{"channel":"room","event":"n","data":{"n":${n}}}}`)
          return Buffer.concat([RawWebSocket.header(1, message.length), message])
        })
        yield* goes.sendBytes(Buffer.concat([...frames, last]))
        goes.socket.end()
        for (let n = 0; n < 500; n++) expect(yield* stays.next).toMatchObject({ n: { n } })
        yield* eventually(subscribers("room"), (count) => count === 1)
      }))

    it.effect("closes with 1011 if the broker itself fails, and serves the others", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const browser = yield* connectBrowser
        yield* browser.send({ subscribe: { channel: "room" } })
        yield* browser.nextOf(":subscribed")
        const { has } = vhost.channels
        Object.assign(vhost.channels, { has: () => Effect.die("a fault") })
        yield* browser.send({ broadcast: { channel: "room", event: "e", data: {} } })
        expect(yield* browser.closed).toBe(1011)
        Object.assign(vhost.channels, { has })
        yield* eventually(subscribers("room"), (count) => count === 0)
        yield* stillServes
      }))

    it.effect("answers binary messages with 400 and goes on", () =>
      Effect.gen(function*() {
        const browser = yield* connectBrowser
        for (const bytes of [new TextEncoder().encode(`{"close":{}}`), new Uint8Array(0), randomBytes(1000)]) {
          yield* browser.send(bytes)
          expect(yield* browser.next).toEqual({ ":error": { code: 400, status: "Bad request" } })
        }
        yield* subscribe(browser, "room")
      }))

    it.effect("joins the fragments of a message, and answers pings in between", () =>
      Effect.gen(function*() {
        const raw = yield* rawBrowser
        yield* raw.send(1, `{"subscribe":`, { fin: false })
        yield* raw.send(9, "are you there")
        yield* raw.send(0, `{"channel":`, { fin: false })
        yield* raw.send(0, `"room"}}`)
        const pong = yield* raw.next
        expect([pong.opcode, pong.payload.toString()]).toEqual([10, "are you there"])
        expect((yield* raw.next).payload.toString()).toBe(`{":subscribed":{"channel":"room"}}`)
      }))

    it.effect("sends `:closed`, and closes with 1000", () =>
      Effect.gen(function*() {
        const browser = yield* connectBrowser
        yield* browser.send({ close: {} })
        expect(yield* browser.next).toEqual({ ":closed": { sid: browser.sid } })
        expect(yield* browser.closed).toBe(1000)
      }))

    it.effect("handles nothing after `close`", () =>
      Effect.gen(function*() {
        const [a, b] = [yield* connectBrowser, yield* connectBrowser]
        yield* subscribe(a, "room")
        yield* subscribe(b, "room")
        yield* a.send({ close: {} })
        yield* a.send({ broadcast: { channel: "room", event: "late", data: {} } })
        yield* a.closed
        yield* b.send({ broadcast: { channel: "room", event: "mine", data: {} } })
        expect(yield* b.next).toEqual({ mine: { channel: "room", sid: b.sid } })
      }))

    it.effect("sends `:closed` and closes with 4403 when a backend disconnects it", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const [a, b] = [yield* connectBrowser, yield* connectBrowser]
        yield* subscribe(a, "room")
        yield* vhost.channels.broadcast("room", "before", {})
        expect(yield* vhost.browsers.disconnect("sid", a.sid)).toBe(1)
        yield* vhost.channels.broadcast("room", "after", {})
        expect([yield* a.next, yield* a.next]).toEqual([
          { before: { channel: "room" } },
          { ":closed": { sid: a.sid } }
        ])
        expect(yield* a.closed).toBe(4403)
        yield* eventually(subscribers("room"), (count) => count === 0)
        yield* eventually(Effect.sync(vhost.browsers.count), (count) => count === 1)
        yield* vhost.browsers.sendTo(b.sid, "hello", {})
        expect(yield* b.next).toEqual({ hello: {} })
      }))

    it.effect.each(["close", "cut"])(
      "unsubscribes a browser whose connection ends: %s",
      (how) =>
        Effect.gen(function*() {
          const [stays, goes] = [yield* connectBrowser, yield* rawBrowser]
          yield* stays.send({ auth: { token: yield* grant("joe") } })
          yield* stays.nextOf(":authenticated")
          yield* subscribe(stays, "presence-room")
          yield* goes.send(1, JSON.stringify({ auth: { token: yield* grant("ann") } }))
          yield* goes.send(1, `{"subscribe":{"channel":"presence-room","data":{"name":"Ann"}}}`)
          yield* stays.nextOf(":memberJoined")
          yield* stays.nextOf(":memberJoined")
          if (how === "close") yield* goes.send(8, new Uint8Array([0x03, 0xe8]))
          else goes.socket.resetAndDestroy()
          expect(yield* stays.next).toEqual({ ":memberLeft": { channel: "presence-room", uid: "ann", name: "Ann" } })
        })
    )

    it.effect("answers like the original, message for message", () =>
      Effect.gen(function*() {
        const exchange = readFileSync(
          new URL("../../../fixtures/original-browser-exchange.jsonl", import.meta.url),
          "utf8"
        )
          .trim().split("\n").map((line) => JSON.parse(line) as Recorded)
        const browsers = { a: yield* connectBrowser, b: yield* connectBrowser }
        // What was random then, and what it is now.
        const now = new Map<string, string>()
        const granted = [yield* grant("joe"), yield* grant("ann", "presence-.*")]
        const translated = (text: string) => [...now].reduce((text, [then, now]) => text.replaceAll(then, now), text)
        let checked = 0
        for (const { browser: name, closed, from, text } of exchange) {
          const browser = browsers[name]
          if (closed !== undefined) {
            // The original closes without the `:closed` that its own documents describe.
            expect(yield* browser.next).toEqual({ ":closed": { sid: browser.sid } })
            expect(yield* browser.closed).toBe(closed)
          } else if (from === "browser") {
            const [token] = /[0-9a-f]{128}/.exec(text) ?? []
            if (token !== undefined) now.set(token, granted.shift()!)
            yield* browser.send(translated(text))
          } else if (text.startsWith(`{":connected"`)) {
            now.set((JSON.parse(text) as { ":connected": { sid: string } })[":connected"].sid, browser.sid)
          } else {
            expect(yield* browser.next).toEqual(JSON.parse(translated(text)))
            checked++
          }
        }
        expect([checked, granted]).toEqual([31, []])
      }))
  })
})

interface Recorded {
  readonly browser: "a" | "b"
  readonly from: "browser" | "server"
  readonly text: string
  readonly closed?: number
}
