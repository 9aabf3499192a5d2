/**
 * The chat of `chat.ts` with two browsers: the second comes later, and gets what was said before.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Client } from "kosmonaut"
import { Chat, Room } from "./chat-events.ts"
import { Router } from "./chat.ts"
import * as Local from "./local.ts"

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Room)
  yield* Layer.build(Router)

  const ann = yield* Local.browser(Local.tokenFor("ann"))
  const room = yield* ann.subscribe(Room)
  yield* ann.trigger(Chat.events.say, { text: "hello" })
  yield* ann.trigger(Chat.events.say, { text: "anybody there?" })
  yield* room.events.pipe(
    Stream.take(2),
    Stream.runForEach(({ data }) => Console.log(`${data.by}: ${data.text}`))
  )

  const joe = yield* Local.browser(Local.tokenFor("joe"))
  yield* joe.subscribe(Room)
  const lines = yield* joe.request(Chat.events.history)
  yield* Console.log(`Joe has missed: ${lines.map(({ text }) => text).join(" ")}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
