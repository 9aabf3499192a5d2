/**
 * A backend that handles what browsers trigger. Run it as often as you like: every event goes to one of them.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { Client, EventRouter, Kosmonaut } from "kosmonaut"
import { Event, EventGroup } from "kosmonaut/events"

class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.NonEmptyString } })
) {}

const ChatLive = Chat.toLayer(Effect.gen(function*() {
  const client = yield* Client.Client
  return Chat.of({
    say: ({ text }, { uid }) => client.broadcast("room", "said", { by: uid, text })
  })
}))

const KosmonautLive = Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })

EventRouter.layer(Chat).pipe(
  Layer.provide(ChatLive),
  Layer.provide(KosmonautLive),
  Layer.launch,
  NodeRuntime.runMain
)
