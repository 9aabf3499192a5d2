/**
 * A worker that goes by the names of events, and the way from there to typed events, one group after the other.
 */
import { Config, Console, Effect, Layer, Schema } from "effect"
import { Client, EventGroup, EventRouter, type JsonObject, Kosmonaut, Worker } from "kosmonaut"

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
    onMessage: handle,
    onException: (cause) => Effect.logError("An event was not handled", cause)
  })
})

// On the way: one group has a handler of its own, all others go where they went.
class Chat extends EventGroup.make("chat", {
  say: { text: Schema.String }
}) {}

const chat = EventRouter.group(Chat, {
  say: ({ broadcastReply, data }) => broadcastReply("room", "said", { text: data.text })
})

export const onTheWay = EventRouter.serve(chat, {
  fallback: ({ data, event }) => handle(event, data)
})

// What there is in the end: a handler for each event, and no fallback.
class Game extends EventGroup.make("game", {
  move: { to: Schema.String }
}) {}

const game = EventRouter.group(Game, {
  move: ({ broadcastReply, data }) => broadcastReply("board", "moved", { to: data.to })
})

export const after = EventRouter.serve(Layer.mergeAll(chat, game), {
  onError: (error) => Console.error(error.message),
  onException: (cause, { event }) => Effect.logError(`${event} was not handled`, cause)
})

export const program = after.pipe(
  Layer.provide(Kosmonaut.layerConfig({ url: Config.Redacted("KOSMONAUT_URL") })),
  Layer.launch
)
