/**
 * A channel for each room, which only the users with a token for that room may join.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { Client } from "kosmonaut"
import { Channel, Event, EventGroup } from "kosmonaut/events"
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

  const ann = yield* Local.browser(tokenFor("ann", "42"))
  const room = yield* ann.subscribe(Room({ id: "42" }))
  yield* client.broadcast(Room({ id: "42" }), "said", { text: "hello" })
  yield* room.events.pipe(
    Stream.take(1),
    Stream.runForEach(({ channel, data }) => Console.log(`Ann received ${data.text} on ${channel}`))
  )

  yield* ann.subscribe(Room({ id: "43" })).pipe(
    Effect.catchTag("ForbiddenError", (error) => Console.log(`Ann may not join room 43: ${error.message}`))
  )
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
