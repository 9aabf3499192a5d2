import { describe, expect, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import type { Socket } from "node:net"
import { Vhosts } from "../../../src/server/index.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually, turn } from "../../harness/eventually.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { layer as testBroker, TestBroker } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const connectBrowser = Effect.flatMap(TestBroker, ({ urls }) => Browser.connect(urls.websocket))

/** A browser made by hand, past its greeting. */
const rawBrowser = Effect.gen(function*() {
  const { broker } = yield* TestBroker
  const raw = yield* RawWebSocket.connect(broker.websocketPort, "/test")
  yield* raw.next
  return raw
})

const grant = (uid: string, pattern = ".*") =>
  Effect.flatMap(TestBroker, ({ vhost }) => Effect.map(vhost.accessTokens.issue(uid, pattern), Redacted.value))

const subscribe = Effect.fnUntraced(function*(browser: Browser.Browser, channel: string) {
  yield* browser.send({ subscribe: { channel } })
  yield* browser.nextOf(":subscribed")
})

/** How many browsers are on a channel. */
const subscribers = (name: string) =>
  Effect.flatMap(
    TestBroker,
    ({ vhost }) => Effect.map(vhost.channels.list, (list) => list.find((channel) => channel.name === name)?.subscribers)
  )

/** That the broker still serves: a fresh browser can join and speak. */
const stillServes = Effect.scoped(Effect.gen(function*() {
  const browser = yield* connectBrowser
  yield* subscribe(browser, "room")
  yield* browser.send({ broadcast: { channel: "room", event: "still", data: {} } })
  expect(yield* browser.nextOf("still")).toEqual({ channel: "room", sid: browser.sid })
}))

describe("WebSocketEndpoint", () => {
  layer(testBroker(), { excludeTestServices: true })("connecting", (it) => {
    it.effect("sends every browser a sid of its own", () =>
      Effect.gen(function*() {
        const browsers = yield* Effect.replicateEffect(connectBrowser, 5)
        for (const { sid } of browsers) expect(sid).toMatch(uuid)
        expect(new Set(browsers.map(({ sid }) => sid)).size).toBe(5)
      }))

    it.effect("uses the path and not the query", () =>
      Effect.gen(function*() {
        const { urls } = yield* TestBroker
        const browser = yield* Browser.connect(`${urls.websocket}?a=1&b=/x?y`)
        expect(browser.sid).toMatch(uuid)
      }))

    it.effect.each([
      "/",
      "/nope",
      "/test/",
      "//test",
      "/test/room",
      "/TEST",
      "/test%00",
      "/%2Ftest",
      "/__proto__",
      "*"
    ])(
      "answers 404 to an unknown vhost: %s",
      (path) =>
        Effect.gen(function*() {
          const { broker } = yield* TestBroker
          const upgrade = yield* RawWebSocket.connect(broker.websocketPort, path)
          expect(upgrade.head).toMatch(/^HTTP\/1\.1 404 /)
          const plain = yield* RawWebSocket.connect(broker.websocketPort, path, {
            headers: { Connection: "close", Upgrade: "" }
          })
          expect(plain.head).toMatch(/^HTTP\/1\.1 404 /)
          yield* stillServes
        })
    )

    it.effect("answers 426 to plain HTTP and to other protocols", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        for (const method of ["GET", "POST", "PUT", "DELETE", "OPTIONS"]) {
          const answer = yield* Effect.promise(() =>
            fetch(`http://127.0.0.1:${broker.websocketPort}/test`, { method }).then(async (answer) => {
              await answer.text()
              return answer
            })
          )
          expect([method, answer.status, answer.headers.get("upgrade")]).toEqual([method, 426, "websocket"])
        }
        const other = yield* RawWebSocket.connect(broker.websocketPort, "/test", { headers: { Upgrade: "h2c" } })
        expect(other.head).toMatch(/^HTTP\/1\.1 426 /)
      }))

    it.effect.each<[string, { readonly method?: string; readonly headers?: Record<string, string> }]>([
      ["no key", { headers: { "Sec-WebSocket-Key": "" } }],
      ["a bad key", { headers: { "Sec-WebSocket-Key": "short" } }],
      ["another version", { headers: { "Sec-WebSocket-Version": "7" } }],
      ["another method", { method: "POST" }]
    ])("rejects a handshake with %s, and goes on", ([_, options]) =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const refused = yield* RawWebSocket.connect(broker.websocketPort, "/test", options)
        expect(refused.head).toMatch(/^HTTP\/1\.1 4\d\d /)
        yield* refused.ended
        yield* stillServes
      }))
  })

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
          new URL("../../fixtures/original-browser-exchange.jsonl", import.meta.url),
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

  layer(testBroker({ maxMessageSize: 1000 }), { excludeTestServices: true })("bad input", (it) => {
    const message = (length: number) => {
      const empty = JSON.stringify({ trigger: { event: "" } }).length
      return JSON.stringify({ trigger: { event: "x".repeat(length - empty) } })
    }

    it.effect("reads messages up to the limit, and closes with 1009 beyond", () =>
      Effect.gen(function*() {
        const [browser, other] = [yield* connectBrowser, yield* connectBrowser]
        yield* subscribe(browser, "room")
        yield* browser.send(message(1000))
        expect(yield* browser.next).toEqual({ ":error": { code: 403, status: "Forbidden" } })
        yield* browser.send(message(1001))
        expect(yield* browser.closed).toBe(1009)
        yield* subscribe(other, "room")
        expect(yield* eventually(subscribers("room"), (count) => count === 1)).toBe(1)
      }))

    it.effect("counts bytes and not characters", () =>
      Effect.gen(function*() {
        const browser = yield* connectBrowser
        yield* browser.send(JSON.stringify({ trigger: { event: "ż".repeat(500) } }))
        expect(yield* browser.closed).toBe(1009)
      }))

    it.effect("does not wait for the rest of a message that is too long", () =>
      Effect.gen(function*() {
        for (const length of [1001, 70_000, 2 ** 31, 2 ** 40]) {
          const raw = yield* rawBrowser
          yield* raw.sendBytes(RawWebSocket.header(1, length))
          expect(yield* raw.closeCode).toBe(1009)
          yield* raw.ended
        }
        yield* stillServes
      }))

    it.effect("counts the fragments of a message together", () =>
      Effect.gen(function*() {
        const raw = yield* rawBrowser
        yield* raw.send(1, "x".repeat(600), { fin: false })
        yield* raw.send(0, "x".repeat(600))
        expect(yield* raw.closeCode).toBe(1009)
        yield* stillServes
      }))

    it.effect.each<[string, number, Uint8Array]>([
      ["text that is not UTF-8", 1007, Buffer.concat([RawWebSocket.header(1, 2), Buffer.from([0xff, 0xfe])])],
      ["a frame without a mask", 1002, Buffer.from([0x81, 2, 0x7b, 0x7d])],
      ["an unknown opcode", 1002, RawWebSocket.header(3, 0)],
      ["a piece of nothing", 1002, RawWebSocket.header(0, 0)],
      ["a ping that is too long", 1002, RawWebSocket.header(9, 126)],
      ["compression that nobody agreed on", 1002, Buffer.from([0xc1, 0x80, 0, 0, 0, 0])],
      ["a close code that is none", 1002, Buffer.concat([RawWebSocket.header(8, 2), Buffer.from([0, 1])])]
    ])("closes for %s with %i", ([_, code, bytes]) =>
      Effect.gen(function*() {
        const [raw, other] = [yield* rawBrowser, yield* connectBrowser]
        yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
        yield* raw.sendBytes(bytes)
        expect(yield* raw.closeCode).toBe(code)
        yield* eventually(subscribers("room"), (count) => count === 0)
        yield* subscribe(other, "room")
      }))

    it.effect("ends connections that are not HTTP, and goes on", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        for (
          const bytes of [randomBytes(500), "\0\0\0\0", "GET\r\n\r\n", "\r\n".repeat(100), `GET /${"a".repeat(20_000)}`]
        ) {
          const tcp = yield* RawTcp.connect(broker.websocketPort)
          yield* tcp.send(bytes)
          tcp.socket.end()
          yield* tcp.ended
        }
        yield* stillServes
      }))

    it.effect("forgets a browser that disconnects in the middle of a frame or of the handshake", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const raw = yield* rawBrowser
        yield* raw.send(1, `{"subscribe":{"channel":"room"}}`)
        yield* raw.next
        expect(yield* subscribers("room")).toBe(1)
        yield* raw.sendBytes(RawWebSocket.header(1, 900))
        yield* raw.sendBytes(`{"broadcast":`)
        raw.socket.end()
        yield* eventually(subscribers("room"), (count) => count === 0)
        const tcp = yield* RawTcp.connect(broker.websocketPort)
        yield* tcp.send("GET /test HTTP/1.1\r\nUpgrade: websocket\r\nConn")
        tcp.socket.resetAndDestroy()
        yield* stillServes
      }))
  })

  it.effect("pings every browser, so that no proxy closes its connection as idle", () =>
    Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const [a, b] = [yield* rawBrowser, yield* rawBrowser]
      let read: ReadonlyArray<number> = [a, b].map(({ socket }) => of(socket).bytesRead)
      for (let i = 0; i < 3; i++) {
        yield* TestClock.adjust("25 seconds")
        for (const raw of [a, b]) {
          expect(yield* raw.next).toMatchObject({ opcode: 9, payload: { length: 0 } })
          yield* raw.send(10, "")
        }
        yield* eventually(Effect.sync(() => [a, b].map(({ socket }) => of(socket).bytesRead)), (now) => {
          const grown = now.every((bytes, index) => bytes > (read[index] ?? 0))
          if (grown) read = now
          return grown
        })
      }
    }).pipe(withBroker()))

  it.live("closes the browsers of a removed vhost, and no others", () =>
    Effect.gen(function*() {
      const vhosts = yield* Vhosts.Vhosts
      const { broker } = yield* TestBroker
      const other = yield* vhosts.add({ path: "/other", channels: ["room"] })
      const [gone, stays] = [yield* connectBrowser, yield* Browser.connect(broker.urls(other).websocket)]
      yield* subscribe(gone, "room")
      yield* vhosts.remove("/test")
      expect(yield* gone.closed).toBe(1001)
      yield* subscribe(stays, "room")
      const again = yield* RawWebSocket.connect(broker.websocketPort, "/test")
      expect(again.head).toMatch(/^HTTP\/1\.1 404 /)
    }).pipe(withBroker()))

  // These wait for seconds, in which the others can do their work.
  describe.concurrent("a browser that does not read", () => {
    const outboxSize = 65_536
    const text = "x".repeat(262_144)

    /** A browser that is subscribed and has stopped reading, and the broker's end of its connection. */
    const slowBrowser = Effect.gen(function*() {
      const { of } = yield* BrokerSide.watch
      const slow = yield* rawBrowser
      yield* slow.send(1, `{"subscribe":{"channel":"room"}}`)
      yield* slow.next
      slow.socket.pause()
      return { slow, kept: of(slow.socket) }
    })

    /**
     * Broadcasts until the slow browser has had enough, and tells how often. The system's own buffers take some megabytes
     * first; beyond them there are two writes, and the queue.
     */
    const fill = Effect.fnUntraced(function*(kept: Socket) {
      const { vhost } = yield* TestBroker
      let sent = 0
      for (; sent < 400 && (yield* subscribers("room")) === 1; sent++) {
        yield* vhost.channels.broadcast("room", "n", { n: sent, text })
        expect(kept.writableLength).toBeLessThan(outboxSize + 3 * (text.length + 100))
        // One that is being disconnected has left the channel after the first turn, or at the latest after the second.
        yield* turn
        yield* turn
      }
      expect(yield* subscribers("room")).toBe(0)
      return sent
    })

    /** The broker's end stays open, however long the browser takes to read, until it is let go. */
    const holdOpen = (kept: Socket) => {
      let isDue = false
      kept.destroy = () => {
        isDue = true
        return kept
      }
      return () => {
        delete (kept as Partial<Socket>).destroy
        if (isDue) kept.destroy()
      }
    }

    it.live("is disconnected, costs no more than its outbound queue, and delays nobody", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const healthy = yield* connectBrowser
        yield* subscribe(healthy, "room")
        const { kept } = yield* slowBrowser
        for (let n = 0; n < 100; n++) {
          yield* vhost.channels.broadcast("room", "n", { n, text })
          expect(kept.writableLength).toBeLessThan(outboxSize + 3 * (text.length + 100))
          expect(yield* healthy.next).toEqual({ n: { n, text, channel: "room" } })
        }
        yield* eventually(subscribers("room"), (count) => count === 1)
        yield* eventually(Effect.sync(() => kept.destroyed), (destroyed) => destroyed)
        yield* vhost.channels.broadcast("room", "n", {})
        expect(yield* healthy.next).toEqual({ n: { channel: "room" } })
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("receives what was queued and 1013 if it reads after all", () =>
      Effect.gen(function*() {
        const { kept, slow } = yield* slowBrowser
        const letGo = holdOpen(kept)
        const sent = yield* fill(kept)
        slow.socket.resume()
        let read = 0
        let frame = yield* slow.next
        for (; frame.opcode === 1; frame = yield* slow.next) {
          expect(JSON.parse(frame.payload.toString())).toMatchObject({ n: { n: read } })
          read++
        }
        expect([frame.opcode, frame.payload.readUInt16BE(0)]).toEqual([8, 1013])
        // All but the one that was too much.
        expect(read).toBe(sent - 1)
        letGo()
        yield* slow.ended
        yield* eventually(subscribers("room"), (count) => count === 0)
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("is disconnected even if only its own messages are queued", () =>
      Effect.gen(function*() {
        const { slow } = yield* slowBrowser
        const message = JSON.stringify({ broadcast: { channel: "room", event: "n", data: { text } } })
        for (let sent = 0; sent < 400 && (yield* subscribers("room")) === 1; sent++) yield* slow.send(1, message)
        yield* eventually(subscribers("room"), (count) => count === 0)
        yield* stillServes
      }).pipe(withBroker({ browsers: { outboxSize, byteRate: Infinity } })))

    it.live("is disconnected even if it keeps sending", () =>
      Effect.gen(function*() {
        const { kept, slow } = yield* slowBrowser
        yield* fill(kept)
        const isDestroyed = Effect.sync(() => kept.destroyed)
        yield* eventually(Effect.andThen(slow.send(10, ""), isDestroyed), (destroyed) => destroyed)
      }).pipe(withBroker({ browsers: { outboxSize } })))

    it.live("sends nothing to others once it is being disconnected", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const healthy = yield* connectBrowser
        yield* subscribe(healthy, "room")
        const { kept, slow } = yield* slowBrowser
        for (let sent = 0; sent < 400 && kept.writableLength < text.length; sent++) {
          yield* vhost.channels.broadcast("room", "n", { text })
          yield* healthy.next
          yield* turn
        }
        const sids: Array<string> = []
        for (const { value } of (yield* vhost.channels.subscribersAfter("room", 0)).items) sids.push(value.browser.sid)
        yield* vhost.browsers.disconnect("sid", sids.find((sid) => sid !== healthy.sid)!)
        expect(kept.destroyed).toBe(false)
        yield* slow.send(1, `{"broadcast":{"channel":"room","event":"late"}}`)
        yield* eventually(subscribers("room"), (count) => count === 1)
        yield* vhost.channels.broadcast("room", "last", {})
        expect(yield* healthy.next).toEqual({ last: { channel: "room" } })
      }).pipe(withBroker({ browsers: { outboxSize: 4 * text.length } })))

    it.live(
      "costs little beside its queued bytes, even if messages are small and browsers many",
      () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const slow = yield* Effect.replicateEffect(slowBrowser, 20)
          while (slow.some(({ kept }) => kept.writableLength === 0)) {
            yield* vhost.channels.broadcast("room", "n", { text })
            yield* turn
          }
          const memory = () => {
            const { arrayBuffers, heapUsed } = process.memoryUsage()
            return arrayBuffers + heapUsed
          }
          const before = memory()
          let most = 0
          let sent = 0
          for (; (yield* subscribers("room"))! > 0; sent += 1000) {
            for (let n = 0; n < 1000; n++) yield* vhost.channels.broadcast("room", "n", { n })
            yield* turn
            most = Math.max(most, memory() - before)
          }
          expect(sent * 35).toBeGreaterThan(2_000_000)
          // 20 queues of 4 MiB, each message an object of its own in each, would be five times as much.
          expect(most).toBeLessThan(100_000_000)
        }).pipe(withBroker({ browsers: { outboxSize: 4 * 1_048_576 } }))
    )

    it.live("may be behind by less than its outbound queue", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const { slow } = yield* slowBrowser
        const count = 64
        for (let n = 0; n < count; n++) yield* vhost.channels.broadcast("room", "n", { n, text })
        slow.socket.resume()
        for (let n = 0; n < count; n++) {
          const { payload } = yield* slow.next
          expect(JSON.parse(payload.toString())).toEqual({ n: { n, text, channel: "room" } })
        }
      }).pipe(withBroker({ browsers: { outboxSize: 64 * 2 * text.length } })))
  })
})

interface Recorded {
  readonly browser: "a" | "b"
  readonly from: "browser" | "server"
  readonly text: string
  readonly closed?: number
}
