/**
 * The chat of `chat.ts` with two pages: the second comes later, and is told what was said before.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { Client, Event } from "kosmonaut"
import * as Chat from "./chat.ts"
import * as Local from "./local.ts"

/** A page that knows the Schemas reads what it hears by them. */
const heard = <E extends Event.Any>(page: Effect.Success<ReturnType<typeof Local.page>>, event: E) =>
  Effect.flatMap(page.hears(event.wireName), (data) => Effect.fromResult(Event.decode(event, data)))

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Chat.Room.name)
  yield* Layer.build(Chat.Handlers)

  const ann = yield* Local.page(yield* client.requestSingleAccessToken("ann", ".*"))
  yield* ann.says({ subscribe: { channel: Chat.Room.name } })
  yield* ann.hears(":subscribed")
  for (const text of ["hello", "anybody there?"]) {
    yield* ann.says({ trigger: { event: "chat/say", data: { text } } })
    const line = yield* heard(ann, Chat.Talk.events.said)
    yield* Console.log(`${line.by}: ${line.text}`)
  }

  const joe = yield* Local.page(yield* client.requestSingleAccessToken("joe", ".*"))
  yield* joe.says({ subscribe: { channel: Chat.Room.name } })
  yield* joe.says({ trigger: { event: "chat/join" } })
  const { lines } = yield* heard(joe, Chat.Talk.events.history)
  yield* Console.log(`Joe has missed: ${lines.map(({ text }) => text).join(" ")}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
