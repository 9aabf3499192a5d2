/**
 * A broker as a program of its own, with storage.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { Broker } from "kosmonaut/server"

// It begins where the last one ended.
const BrokerLive = Broker.layerConfig({
  storageDir: Config.String("KOSMONAUT_STORAGE_DIR"),
  fsync: Config.Boolean("KOSMONAUT_FSYNC").pipe(Config.withDefault(false)),
  vhosts: Config.succeed([{ path: "/chat", channels: ["room"] }])
})

BrokerLive.pipe(Layer.launch, NodeRuntime.runMain)
