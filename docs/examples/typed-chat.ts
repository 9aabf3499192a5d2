/**
 * The chat of `chat.ts` with two browsers: the second comes later, and receives what was said before.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { Client, Event } from "kosmonaut"
import * as Chat from "./chat.ts"
import * as Local from "./local.ts"

/** A browser that knows the Schemas decodes what it receives by them. */
const received = <E extends Event.Any>(browser: Effect.Success<ReturnType<typeof Local.browser>>, event: E) =>
  Effect.flatMap(browser.receive(event._tag), (data) => Effect.fromResult(Event.decode(event, data)))

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Chat.Room)
  yield* Layer.build(Chat.Router)

  const ann = yield* Local.browser(yield* client.requestSingleAccessToken("ann", ".*"))
  yield* ann.send({ subscribe: { channel: Chat.Room.name } })
  yield* ann.receive(":subscribed")
  for (const text of ["hello", "anybody there?"]) {
    yield* ann.send({ trigger: { event: "chat/say", data: { text } } })
    const line = yield* received(ann, Chat.Talk.events.said)
    yield* Console.log(`${line.by}: ${line.text}`)
  }

  const joe = yield* Local.browser(yield* client.requestSingleAccessToken("joe", ".*"))
  yield* joe.send({ subscribe: { channel: Chat.Room.name } })
  yield* joe.send({ trigger: { event: "chat/join" } })
  const { lines } = yield* received(joe, Chat.Talk.events.history)
  yield* Console.log(`Joe has missed: ${lines.map(({ text }) => text).join(" ")}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
