/**
 * A broker with a port for administrators, and for programs that watch it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { Broker } from "kosmonaut/server"

// The port of administrators, on this machine alone.
const AdministeredLive = Broker.layer({ admin: { port: 8082 }, vhosts: [{ path: "/chat" }] })

AdministeredLive.pipe(Layer.launch, NodeRuntime.runMain)
