/** Browsers connect, and their connections stay and end. */
import { describe, expect, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Vhosts } from "../../../src/server/index.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { layer as testBroker, TestBroker } from "../../harness/TestBroker.ts"
import { connectBrowser, rawBrowser, stillServes, subscribe } from "../../harness/webSocketBrowsers.ts"
import { withBroker } from "../../harness/withBroker.ts"

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

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
})
