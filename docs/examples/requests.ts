/**
 * Requests: events with a response. The handler's result is the response.
 */
import { Effect, Layer, Schema } from "effect"
import { Client, Event, EventGroup, EventRouter } from "kosmonaut"

export class NameTaken extends Schema.TaggedError<NameTaken>("chat/NameTaken")("NameTaken", {
  by: Schema.String
}) {}

export class Chat extends EventGroup.make(
  "chat",
  Event.make("rename", {
    payload: { to: Schema.NonEmptyString },
    success: Schema.Struct({ name: Schema.String, since: Schema.Date }),
    error: NameTaken
  }),
  Event.make("remind", { payload: { room: Schema.String }, primaryKey: ({ room }) => room })
) {}

export const ChatLive = Chat.toLayer({
  rename: ({ to }) =>
    to === "admin"
      ? Effect.fail(new NameTaken({ by: "root" }))
      : Effect.succeed({ name: to, since: new Date() }),
  remind: ({ room }) => Effect.log(`a reminder for ${room}`)
})

export const Router = EventRouter.layer(Chat).pipe(Layer.provide(ChatLive))

/** A backend's request, with the response and the errors that the event declares. */
export const rename = Effect.fnUntraced(function*(to: string) {
  const client = yield* Client.Client
  return yield* client.request(Chat.events.rename, { to }, { timeout: "2 seconds" }).pipe(
    Effect.map(({ name }) => `You are ${name} now`),
    Effect.catchTag("NameTaken", ({ by }) => Effect.succeed(`${by} has this name`)),
    Effect.catchTag("NoWorkerError", () => Effect.succeed("Try again later"))
  )
})

/** An event that a backend queues for a worker. While one for the same room is queued, another one is not. */
export const remind = Effect.fnUntraced(function*(room: string) {
  const client = yield* Client.Client
  yield* client.trigger(Chat.events.remind, { room }, { delay: "10 minutes" })
})
