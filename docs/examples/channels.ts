/**
 * A channel for each room, which only the users with a token for that room may join.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Schema } from "effect"
import { Channel, Client, Event, EventGroup } from "kosmonaut"
import * as Local from "./local.ts"

class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: { text: Schema.String } })
) {}

const Room = Channel.make("room", { kind: "private", params: { id: Schema.String }, events: Talk })

/** A token with which a user may join this room, and no other. */
const tokenFor = Effect.fnUntraced(function*(uid: string, id: string) {
  const client = yield* Client.Client
  return yield* client.requestSingleAccessToken({ uid, channels: [Room({ id })] })
})

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Room({ id: "42" }))
  yield* client.openChannel(Room({ id: "43" }))

  const ann = yield* Local.browser(yield* tokenFor("ann", "42"))
  yield* ann.send({ subscribe: { channel: "private-room-42" } })
  yield* ann.receive(":subscribed")
  yield* client.broadcast(Room({ id: "42" }), "said", { text: "hello" })
  yield* Console.log(`Ann received ${JSON.stringify(yield* ann.receive("talk/said"))}`)

  yield* ann.send({ subscribe: { channel: "private-room-43" } })
  const { code } = yield* ann.receive(":error")
  yield* Console.log(`Ann may not join room 43: ${JSON.stringify(code)}`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
