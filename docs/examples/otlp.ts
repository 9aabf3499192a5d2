/**
 * A broker that exports its spans, metrics and logs by OTLP. A backend does so in the same way.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { Broker } from "kosmonaut/server"

const Observability = Otlp.layerJson({
  baseUrl: "http://127.0.0.1:4318",
  resource: { serviceName: "chat-broker" }
}).pipe(Layer.provide(FetchHttpClient.layer))

const BrokerLive = Broker.layerConfig({
  vhosts: Config.map(Config.Redacted("KOSMONAUT_TOKEN"), (token) => [{ path: "/chat", token, channels: ["room"] }])
})

BrokerLive.pipe(
  Layer.provide(Observability),
  Layer.launch,
  NodeRuntime.runMain
)
