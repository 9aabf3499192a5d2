/** The broker on the HTTP server of an application, and the script that it serves. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { once } from "node:events"
import { createServer, type IncomingMessage, request as nodeRequest } from "node:http"
import { connect, type Socket } from "node:net"
import { Broker, type BrokerConfig, Vhosts } from "../../src/server/index.ts"
import * as Browser from "../harness/Browser.ts"
import { engineOf } from "../harness/engine.ts"
import * as RawWebSocket from "../harness/RawWebSocket.ts"

const Own = Layer.mergeAll(
  HttpRouter.add("GET", "/health", HttpServerResponse.text("up")),
  HttpRouter.add("GET", "/live/chat/info", HttpServerResponse.text("ours"))
)

type Options = BrokerConfig.Options & { readonly prefix?: `/${string}` }

/** An application with a broker below `prefix`, and how to reach it. */
const application = (
  options: Options = {},
  withBroker: (broker: ReturnType<typeof Broker.layerHttp>) => ReturnType<typeof Broker.layerHttp> = (it) => it,
  server: Pick<NodeHttpServer.Options, "gracefulShutdownTimeout"> = {}
) =>
  HttpRouter.serve(
    Layer.merge(
      Own,
      withBroker(
        Broker.layerHttp({ backendPort: 0, tcpPort: 0, vhosts: [{ path: "/chat", channels: ["room"] }], ...options })
      )
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    // What Node.js would end by itself comes too late for a test.
    Layer.provideMerge(
      NodeHttpServer.layer(() => createServer({ keepAliveTimeout: 60_000 }), { port: 0, host: "127.0.0.1", ...server })
    ),
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

  for (const order of ["before", "after"] as const) {
    it.live(`leaves an application its routes if it is built ${order} them`, () =>
      Effect.gen(function*() {
        const { websocketPort } = yield* Broker.Broker
        const vhosts = yield* Vhosts.Vhosts
        const body = (path: string) => Effect.map(get(websocketPort, path), ({ body }) => body)
        const headOf = (path: string) =>
          Effect.scoped(Effect.map(RawWebSocket.connect(websocketPort, path), ({ head }) => head.split("\r\n")[0]))
        assert.strictEqual(yield* body("/"), "page")
        assert.strictEqual(yield* body("/anything/else"), "single page")
        assert.strictEqual(yield* body("/own"), "own")
        assert.notInclude(yield* body("/kosmonaut.js"), "page")
        assert.strictEqual(yield* headOf("/chat"), "HTTP/1.1 101 Switching Protocols")
        assert.include(yield* body("/chat"), "WebSocket endpoint")
        yield* vhosts.add({ path: "/later/on" })
        assert.strictEqual(yield* headOf("/later/on"), "HTTP/1.1 101 Switching Protocols")
        yield* vhosts.remove("/later/on")
        const removed = yield* RawWebSocket.connect(websocketPort, "/later/on?v=1")
        assert.strictEqual(yield* removed.closeCode, 4404)
      }).pipe(Effect.scoped, Effect.provide(ordered(order))))
  }

  it.live("answers 503 until the application is there", () =>
    Effect.gen(function*() {
      const port = yield* Deferred.make<number>()
      const isReady = yield* Deferred.make<void>()
      const Slow = Layer.effectDiscard(Effect.gen(function*() {
        const { websocketPort } = yield* Broker.Broker
        yield* Deferred.succeed(port, websocketPort)
        yield* Deferred.await(isReady)
      }))
      const built = yield* Effect.forkScoped(Layer.build(application({}, (broker) => Layer.provideMerge(Slow, broker))))
      const bound = yield* Deferred.await(port)
      const early = yield* get(bound, "/health")
      assert.deepInclude(early.response, { statusCode: 503 })
      assert.strictEqual(early.response.headers["retry-after"], "5")
      assert.include((yield* RawWebSocket.connect(bound, "/chat")).head, "503 Service Unavailable")
      yield* Deferred.succeed(isReady, undefined)
      yield* Fiber.join(built)
      assert.strictEqual((yield* get(bound, "/health")).body, "up")
      assert.include((yield* RawWebSocket.connect(bound, "/chat")).head, "101 Switching Protocols")
    }).pipe(Effect.scoped, Effect.timeout("10 seconds")))

  it.live("ends connections without a request when the application ends, and lets its requests finish", () =>
    Effect.gen(function*() {
      const { close, port, reached, release } = yield* started({ gracefulShutdownTimeout: "1 minute" })
      const silent = yield* rawConnection(port)
      const half = yield* rawConnection(port, "GET /health HTTP/1.1\r\nHost")
      const running = yield* Effect.forkScoped(get(port, "/slow"))
      yield* Deferred.await(reached)
      const closed = yield* Effect.forkScoped(close)
      yield* Effect.all([ended(silent), ended(half)], { concurrency: 2 })
      yield* Deferred.succeed(release, undefined)
      assert.strictEqual((yield* Fiber.join(running)).body, "slow")
      yield* Fiber.join(closed)
    }).pipe(Effect.scoped, Effect.timeout("20 seconds")))

  it.live("does not keep an application open that fails to start", () =>
    Effect.gen(function*() {
      const Failing = Layer.effectDiscard(Effect.gen(function*() {
        const { websocketPort } = yield* Broker.Broker
        const silent = yield* Effect.promise(async () => {
          const socket = connect(websocketPort, "127.0.0.1").on("error", () => {})
          await once(socket, "connect")
          return socket
        })
        // By its response the server has accepted the connection before.
        yield* get(websocketPort, "/health")
        assert.isFalse(silent.closed)
        return yield* Effect.die("no start")
      }))
      const build = Effect.scoped(Layer.build(application({}, (broker) => Layer.provideMerge(Failing, broker))))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(build)))
    }).pipe(Effect.timeout("15 seconds")), 20_000)

  it.live("waits for no connection longer than the server and the broker are given", () =>
    Effect.gen(function*() {
      const { close, port } = yield* started({ gracefulShutdownTimeout: "300 millis" })
      // It has had a response, and sends the next request by half.
      const stalled = yield* rawConnection(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /health")
      yield* Effect.promise(() => once(stalled, "data"))
      yield* close
      yield* ended(stalled)
    }).pipe(Effect.scoped, Effect.timeout("10 seconds")))
})

/** An application whose routes would match all that the broker has, built before it or after it. */
const ordered = (order: "before" | "after") => {
  const Routes = Layer.mergeAll(
    HttpRouter.add("GET", "/", HttpServerResponse.text("page")),
    HttpRouter.add("GET", "/own", HttpServerResponse.text("own")),
    HttpRouter.add("GET", "/:id", HttpServerResponse.text("single page")),
    HttpRouter.add("*", "/*", HttpServerResponse.text("single page"))
  )
  const broker = (options: BrokerConfig.Options) => Broker.layerHttp({ backendPort: 0, tcpPort: 0, ...options })
  const BrokerLive = broker({ vhosts: [{ path: "/chat" }, { path: "/own" }] })
  return HttpRouter.serve(
    order === "before" ? Routes.pipe(Layer.provideMerge(BrokerLive)) : BrokerLive.pipe(Layer.provideMerge(Routes)),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.merge(Logger.layer([]))
  )
}

/** A running application with the route `/slow`, which responds when it is released, and how to end it. */
const started = Effect.fnUntraced(function*(server: Pick<NodeHttpServer.Options, "gracefulShutdownTimeout">) {
  const reached = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const Slow = HttpRouter.add(
    "GET",
    "/slow",
    Effect.gen(function*() {
      yield* Deferred.succeed(reached, undefined)
      yield* Deferred.await(release)
      return HttpServerResponse.text("slow")
    })
  )
  const scope = yield* Scope.make()
  const live = application({ shutdownTimeout: "300 millis" }, (broker) => Layer.merge(broker, Slow), server)
  const context = yield* Layer.buildWithScope(live, scope)
  const { websocketPort: port } = Context.get(context, Broker.Broker)
  return { port, reached, release, close: Scope.close(scope, Exit.void) }
})

const rawConnection = (port: number, text = "") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = connect(port, "127.0.0.1")
      await once(socket, "connect")
      if (text !== "") socket.write(text)
      return socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const ended = (socket: Socket) =>
  Effect.suspend(() => {
    socket.resume()
    return socket.closed ? Effect.void : Effect.promise(() => once(socket, "close"))
  })
