/**
 * A broker that is a node of a cluster: all that have the same Redis are one broker. Give all of them the same vhosts and tokens.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { Broker } from "kosmonaut/server"

const BrokerLive = Broker.layerConfig({
  vhosts: Config.map(Config.Redacted("KOSMONAUT_TOKEN"), (token) => [{ path: "/chat", token, channels: ["room"] }]),
  redis: { url: Config.Redacted("KOSMONAUT_REDIS_URL") },
  nodeName: Config.String("HOSTNAME")
})

BrokerLive.pipe(
  Layer.launch,
  NodeRuntime.runMain
)
