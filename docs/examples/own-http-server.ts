/**
 * A whole application on one port: its page, its API, and the WebSockets of browsers. It broadcasts to them by a Client.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Client, Kosmonaut } from "kosmonaut"
import { Broker, Vhosts } from "kosmonaut/server"
import { createServer } from "node:http"

// Browsers connect to ws://localhost:3000/live/chat, and load /live/kosmonaut.js.
const BrokerLive = Broker.layerHttp({
  prefix: "/live",
  vhosts: [{ path: "/chat", channels: ["room"] }]
})

// The page loads the script from the same port, and connects to it.
const page = `<!doctype html>
<ul></ul>
<form><input name="text" required autofocus></form>
<script src="/live/kosmonaut.js"></script>
<script>
  const room = Kosmonaut.connect(location.origin.replace("http", "ws") + "/live/chat").subscribe("room")
  room.on("said", ({ text }) => document.querySelector("ul").append(text, document.createElement("br")))
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault()
    const text = new FormData(event.target).get("text")
    const headers = { "content-type": "application/json" }
    fetch("/api/said", { method: "POST", headers, body: JSON.stringify({ text }) })
    event.target.reset()
  }
</script>`
const Page = HttpRouter.add("GET", "/", HttpServerResponse.html(page))

const Said = Schema.Struct({ text: Schema.NonEmptyString })

// What the API gets it broadcasts to all browsers.
const Api = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const client = yield* Client.Client
  yield* router.add(
    "POST",
    "/api/said",
    Effect.gen(function*() {
      const said = yield* HttpServerRequest.schemaBodyJson(Said)
      yield* client.broadcast("room", "said", said)
      return HttpServerResponse.empty({ status: 204 })
    })
  )
}))

// The Client of this application reaches the broker by its backend port, as one in another process would.
const ClientLive = Layer.unwrap(Effect.gen(function*() {
  const { urls } = yield* Broker.Broker
  const { get } = yield* Vhosts.Vhosts
  return Kosmonaut.layer({ url: urls(yield* get("/chat")).backend })
}))

HttpRouter.serve(Layer.mergeAll(Page, Api).pipe(Layer.provide(ClientLive), Layer.provideMerge(BrokerLive))).pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
  Layer.launch,
  NodeRuntime.runMain
)
