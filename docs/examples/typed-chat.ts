/**
 * The chat of `chat.ts` with two pages: the second comes later, and is told what was said before.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { Client } from "kosmonaut"
import * as Chat from "./chat.ts"
import * as Local from "./local.ts"

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Chat.Room.name)
  yield* Layer.build(Chat.Handlers)

  const ann = yield* Local.page(yield* client.requestSingleAccessToken("ann", ".*"))
  yield* ann.says({ subscribe: { channel: Chat.Room.name } })
  yield* ann.hears(":subscribed")
  for (const text of ["hello", "anybody there?"]) {
    yield* ann.says({ trigger: { event: "chat/say", data: { text } } })
    const { by, text: heard } = yield* ann.hears("talk/said")
    yield* Console.log(`${by}: ${heard}`)
  }

  const joe = yield* Local.page(yield* client.requestSingleAccessToken("joe", ".*"))
  yield* joe.says({ subscribe: { channel: Chat.Room.name } })
  yield* joe.says({ trigger: { event: "chat/join" } })
  const { lines } = yield* joe.hears("talk/history")
  const texts = (lines as ReadonlyArray<{ readonly text: string }>).map(({ text }) => text)
  yield* Console.log(`Joe has missed: ${texts.join(" ")}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
