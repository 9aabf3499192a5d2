/**
 * A broker on the HTTP server of an application: one port for its own routes and for browsers.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { Broker } from "kosmonaut/server"
import { createServer } from "node:http"

// Browsers connect to ws://localhost:3000/live/chat, and load /live/kosmonaut.js.
const BrokerLive = Broker.layerHttp({
  prefix: "/live",
  vhosts: [{ path: "/chat", channels: ["room"] }]
})

const Health = HttpRouter.add("GET", "/health", HttpServerResponse.text("up"))

HttpRouter.serve(Layer.merge(BrokerLive, Health)).pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
  Layer.launch,
  NodeRuntime.runMain
)
