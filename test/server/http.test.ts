/** The broker on the HTTP server of an application, and the script that it serves. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { createServer, type IncomingMessage, request as nodeRequest } from "node:http"
import { Broker, type BrokerConfig, Vhosts } from "../../src/server/index.ts"
import * as Browser from "../harness/Browser.ts"
import { engineOf } from "../harness/engine.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"

const Own = Layer.mergeAll(
  HttpRouter.add("GET", "/health", HttpServerResponse.text("up")),
  HttpRouter.add("GET", "/live/chat/info", HttpServerResponse.text("ours"))
)

/** An application with a broker below `prefix`, and how to reach it. */
const application = (options: BrokerConfig.Options & { readonly prefix?: `/${string}` } = {}) =>
  HttpRouter.serve(
    Layer.merge(
      Own,
      Broker.layerHttp({ backendPort: 0, tcpPort: 0, vhosts: [{ path: "/chat", channels: ["room"] }], ...options })
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.merge(Logger.layer([]))
  )

const get = (port: number, path: string, options: { method?: string; headers?: Record<string, string> } = {}) =>
  Effect.callback<{ readonly response: IncomingMessage; readonly body: string }>((resume) => {
    nodeRequest({ port, host: "127.0.0.1", path, ...options }, (response) => {
      let body = ""
      response.on("data", (chunk) => body += chunk).on("end", () => resume(Effect.succeed({ response, body })))
    }).end()
  })

describe("Broker.layerHttp", () => {
  it.live("has browsers beside the routes of an application", () =>
    Effect.gen(function*() {
      const broker = yield* Broker.Broker
      const { address } = yield* HttpServer.HttpServer
      const port = "port" in address ? address.port : 0
      assert.strictEqual(broker.websocketPort, port)
      const vhost = yield* Effect.flatMap(Vhosts.Vhosts, ({ get }) => get("/chat"))
      assert.strictEqual(broker.urls(vhost).websocket, `ws://127.0.0.1:${port}/live/chat`)
      assert.strictEqual((yield* get(port, "/health")).body, "up")
      assert.strictEqual((yield* get(port, "/live/chat/info")).body, "ours")
      assert.deepInclude((yield* get(port, "/live/chat")).response, { statusCode: 426 })
      assert.deepInclude((yield* get(port, "/live/nope")).response, { statusCode: 404 })
      assert.deepInclude((yield* get(port, "/chat")).response, { statusCode: 404 })
      const ann = yield* Browser.connect(broker.urls(vhost).websocket)
      yield* ann.send({ subscribe: { channel: "room" } })
      yield* ann.nextOf(":subscribed")
      yield* engineOf(vhost).channels.broadcast("room", "hello", { n: 1 })
      assert.deepStrictEqual(yield* ann.nextOf("hello"), { n: 1, channel: "room" })
      assert.strictEqual((yield* vhost.counts).browsers, 1)
    }).pipe(Effect.scoped, Effect.provide(application({ prefix: "/live" }))))

  it.live("has the limits of browsers, and tells those that are refused", () =>
    Effect.gen(function*() {
      const { websocketPort } = yield* Broker.Broker
      const closes = (path: string, headers: Record<string, string> = {}) =>
        Effect.scoped(
          Effect.flatMap(RawWebSocket.connect(websocketPort, path, { headers }), ({ closeCode }) => closeCode)
        )
      assert.strictEqual(yield* closes("/nope?v=1"), 4404)
      assert.strictEqual(yield* closes("/chat?v=2"), 4400)
      assert.strictEqual(yield* closes("/chat?v=1", { Origin: "https://evil.example" }), 4405)
      const { head } = yield* RawWebSocket.connect(websocketPort, "/nope")
      assert.include(head, "404 Not Found")
      const large = yield* RawWebSocket.connect(websocketPort, "/chat")
      yield* large.send(1, "x".repeat(2000))
      assert.strictEqual(yield* large.closeCode, 1009)
    }).pipe(Effect.scoped, Effect.provide(application({ maxMessageSize: 1000 }))))

  it.live("closes its browsers with 1001 when the application ends, without waiting for them", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(application(), scope)
      const { websocketPort } = yield* Effect.provide(Broker.Broker, context)
      const raw = yield* RawWebSocket.connect(websocketPort, "/chat")
      const before = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - before, 4000)
      assert.strictEqual(yield* raw.closeCode, 1001)
    }).pipe(Effect.scoped))
})
