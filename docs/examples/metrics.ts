/**
 * The metrics of a broker, a Client and a Worker, where Prometheus finds them.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Client } from "kosmonaut"
import { createServer } from "node:http"
import * as Local from "./local.ts"

/** Serves `/metrics` on a free port. */
const Metrics = HttpRouter.serve(PrometheusMetrics.layerHttp(), { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
)

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel("room")
  yield* client.broadcast("room", "hello")

  const { address } = yield* HttpServer.HttpServer
  const port = address._tag === "InetAddressV4" ? address.port : 0
  const text = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text()))
  const lines = text.split("\n").filter((line) => /^kosmonaut_(client_requests|broker_channels)/.test(line))
  yield* Console.log(lines.sort().join("\n"))
})

program.pipe(
  Effect.provide(Layer.mergeAll(Metrics, Layer.provideMerge(Local.backend, Local.broker))),
  NodeRuntime.runMain
)
