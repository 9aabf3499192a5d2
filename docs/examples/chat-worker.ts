/**
 * A backend that answers what browsers trigger. Run it as often as you like: every event goes to one of them.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { Client, Kosmonaut, Worker } from "kosmonaut"

const Chat = Layer.effectDiscard(Effect.gen(function*() {
  const client = yield* Client.Client
  const worker = yield* Worker.Worker
  yield* worker.listen({
    onMessage: (event, data) =>
      event === "chat/say"
        ? client.broadcast("room", "said", { text: data.text })
        : Effect.logWarning(`Nobody handles ${event}`),
    onException: (cause) => Effect.logError("An event was not handled", cause)
  }).pipe(Effect.forkScoped)
}))

Chat.pipe(
  Layer.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
  Layer.launch,
  NodeRuntime.runMain
)
