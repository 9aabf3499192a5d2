/**
 * The backend of the demo: the handlers of what pages trigger, and of who joins and leaves.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Client from "../../client/Client.ts"
import * as EventRouter from "../../client/EventRouter.ts"
import * as Lifecycle from "../../events/Lifecycle.ts"
import { Chat, Station } from "./Chat.ts"
import { Crew } from "./Crew.ts"

const ChatLive = Chat.toLayer(Effect.gen(function*() {
  const client = yield* Client.Client
  const crew = yield* Crew
  return Chat.of({
    say: Effect.fnUntraced(function*({ id, text }, { uid = "" }) {
      const { [uid]: name = "Somebody" } = yield* crew.names
      const line = yield* crew.say({ id, text, uid, name, at: yield* Clock.currentTimeMillis })
      yield* client.broadcast(Station, "said", line)
    }),
    rename: Effect.fnUntraced(function*({ to }, { uid = "" }) {
      const name = yield* crew.rename(uid, to)
      // That others see it is not part of the answer.
      yield* Effect.ignore(client.broadcast(Station, "named", { uid, name }))
      return { name }
    }),
    catchUp: () => Effect.all({ names: crew.names, lines: crew.lines })
  })
}))

const MembersLive = Lifecycle.Members.toLayer(Effect.gen(function*() {
  const client = yield* Client.Client
  const crew = yield* Crew
  return Lifecycle.Members.of({
    memberJoined: ({ uid }) =>
      Effect.flatMap(crew.enter(uid), (name) => client.broadcast(Station, "named", { uid, name })),
    memberLeft: ({ uid }) => crew.leave(uid)
  })
}))

/**
 * The backend. It is built once its worker is connected.
 *
 * @since 0.1.0
 */
export const layer = EventRouter.layer(Chat.merge(Lifecycle.Members)).pipe(Layer.provide([ChatLive, MembersLive]))
