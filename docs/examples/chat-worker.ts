/**
 * A backend that answers what browsers trigger. Run it as often as you like: every event goes to one of them.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect } from "effect"
import { Client, Kosmonaut, Worker } from "kosmonaut"

const chat = Effect.gen(function*() {
  const client = yield* Client.Client
  const worker = yield* Worker.Worker
  return yield* worker.listen({
    onMessage: (event, data) =>
      event === "chat/say"
        ? client.broadcast("room", "said", { text: data["text"] })
        : Effect.logWarning(`Nobody handles ${event}`),
    onException: (cause) => Effect.logError("An event was not handled", cause)
  })
})

chat.pipe(
  Effect.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
  NodeRuntime.runMain
)
