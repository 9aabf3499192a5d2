/** What is no message of the protocol harms nobody else. */
import { describe, expect, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { eventually } from "../../../harness/eventually.ts"
import * as RawTcp from "../../../harness/RawTcp.ts"
import * as RawWebSocket from "../../../harness/RawWebSocket.ts"
import { layer as testBroker, TestBroker } from "../../../harness/TestBroker.ts"
import { connectBrowser, rawBrowser, stillServes, subscribe, subscribers } from "../../../harness/webSocketBrowsers.ts"

describe("WebSocketEndpoint", () => {
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
})
