/**
 * A backend that answers what browsers trigger. Run it as often as you like: every event goes to one of them.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer, Schema } from "effect"
import { EventGroup, EventRouter, Kosmonaut } from "kosmonaut"

class Chat extends EventGroup.make("chat", {
  say: { text: Schema.NonEmptyString }
}) {}

const Handlers = EventRouter.layer(Chat, {
  say: ({ broadcastReply, data, uid }) => broadcastReply("room", "said", { by: uid, text: data.text })
})

const KosmonautLive = Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })

Handlers.pipe(Layer.provide(KosmonautLive), Layer.launch, NodeRuntime.runMain)
