/**
 * A worker that goes by the names of events, and the way from there to typed events, one group after the other.
 */
import { Config, Console, Effect, Layer, Schema } from "effect"
import { Client, EventRouter, type JsonObject, Kosmonaut, Message, Worker } from "kosmonaut"
import { Event, EventGroup } from "kosmonaut/events"

// What there was: every name in one function, and the data as they came.
const handle = Effect.fnUntraced(function*(event: string, data: JsonObject) {
  const client = yield* Client.Client
  switch (event) {
    case "chat/say":
      return yield* client.broadcast("room", "said", { text: data["text"] })
    case "game/move":
      return yield* client.broadcast("board", "moved", { to: data["to"] })
    default:
      return yield* Effect.logWarning(`Nobody handles ${event}`)
  }
})

export const before = Effect.gen(function*() {
  const worker = yield* Worker.Worker
  return yield* worker.listen({
    onMessage: ({ data, event }) => handle(event, data),
    onException: (cause) => Effect.logError("An event was not handled", cause)
  })
})

// On the way: one group has a handler of its own, all others go where they went.
class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.String } })
) {}

const ChatLive = Chat.toLayer({
  say: ({ text }, message) => Message.broadcastReply(message, "room", "said", { text })
})

export const onTheWay = EventRouter.layer(Chat, {
  fallback: ({ data, event }) => handle(event, data)
}).pipe(
  Layer.provide(ChatLive)
)

// What there is in the end: a handler for each event, and no fallback.
class Game extends EventGroup.make(
  "game",
  Event.make("move", { payload: { to: Schema.String } })
) {}

const GameLive = Game.toLayer({
  move: ({ to }, message) => Message.broadcastReply(message, "board", "moved", { to })
})

export const after = EventRouter.layer(Chat.merge(Game), {
  onError: (error) => Console.error(error.message),
  onException: (cause, { event }) => Effect.logError(`${event} was not handled`, cause)
}).pipe(
  Layer.provide([ChatLive, GameLive])
)

export const program = after.pipe(
  Layer.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
  Layer.launch
)
