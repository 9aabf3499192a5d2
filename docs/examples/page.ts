/**
 * The chat of `chat.ts` with its page, `page.html`, on one HTTP server. Open http://localhost:3000 in two tabs.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { Client, Kosmonaut } from "kosmonaut"
import { Broker, Vhosts } from "kosmonaut/server"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { Room } from "./chat-events.ts"
import { Router } from "./chat.ts"

const BrokerLive = Broker.layerHttp({
  prefix: "/live",
  backendPort: 0,
  tcpPort: 0,
  vhosts: [{ path: "/chat", channels: [Room.name] }]
})

const KosmonautLive = Layer.unwrap(Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  return Kosmonaut.layer({ url: broker.urls(yield* vhosts.get("/chat")).backend })
}))

const Page = HttpRouter.add(
  "GET",
  "/",
  HttpServerResponse.html(readFileSync(new URL("page.html", import.meta.url), "utf8"))
)

// An application knows its users. Here everybody is somebody else.
const Token = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const client = yield* Client.Client
  const token = Effect.suspend(() => client.requestSingleAccessToken({ uid: crypto.randomUUID(), channels: [Room] }))
  yield* router.add("GET", "/token", Effect.map(token, (token) => HttpServerResponse.text(Redacted.value(token))))
}))

const ServerLive = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(3000))
  return NodeHttpServer.layer(createServer, { port })
}))

HttpRouter.serve(Layer.mergeAll(Page, Token, Router).pipe(Layer.provide(KosmonautLive), Layer.provideMerge(BrokerLive)))
  .pipe(
    Layer.provide(ServerLive),
    Layer.launch,
    NodeRuntime.runMain
  )
