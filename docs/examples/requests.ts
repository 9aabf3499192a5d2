/**
 * Requests: events with a response, of a browser and of a backend. The handler's result is the response.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Schema } from "effect"
import { Client, EventRouter } from "kosmonaut"
import { Browser } from "kosmonaut/browser"
import { Event, EventGroup } from "kosmonaut/events"
import * as Local from "./local.ts"

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
  remind: ({ room }) => Console.log(`a reminder for ${room}`)
})

export const Router = EventRouter.layer(Chat).pipe(Layer.provide(ChatLive))

/** A browser's request, with the response and the errors that the event declares. */
export const rename = Effect.fnUntraced(function*(to: string) {
  const browser = yield* Browser.Browser
  return yield* browser.request(Chat.events.rename, { to }, { timeout: "2 seconds" }).pipe(
    Effect.map(({ name }) => `You are ${name} now`),
    Effect.catchTags({
      NameTaken: ({ by }) => Effect.succeed(`${by} has this name`),
      NoWorkerError: () => Effect.succeed("Try again later")
    })
  )
})

/** A backend's request. */
export const renameByBackend = Effect.fnUntraced(function*(to: string) {
  const client = yield* Client.Client
  return yield* client.request(Chat.events.rename, { to }, { timeout: "2 seconds" })
})

/** An event that a backend queues for a worker. While one for the same room is queued, another one is not. */
export const remind = Effect.fnUntraced(function*(room: string) {
  const client = yield* Client.Client
  yield* client.trigger(Chat.events.remind, { room }, { delay: "100 millis" })
})

const program = Effect.gen(function*() {
  const ann = yield* Local.browser(Local.tokenFor("ann"))
  const asAnn = Effect.provideService(Browser.Browser, ann)
  yield* Console.log(yield* asAnn(rename("Ann")))

  yield* Layer.build(Router)
  yield* Console.log(yield* asAnn(rename("Ann")))
  yield* Console.log(yield* asAnn(rename("admin")))
  const { name } = yield* renameByBackend("Joe")
  yield* Console.log(`The backend got ${name}`)

  yield* remind("42")
  yield* remind("42")
  yield* Effect.sleep("200 millis")
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
