/**
 * The smallest backend: it opens a channel and broadcasts one event.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect } from "effect"
import { Client, Kosmonaut } from "kosmonaut"

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel("room")
  yield* client.broadcast("room", "hello", { what: "world" })
})

program.pipe(
  Effect.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
  NodeRuntime.runMain
)
