/**
 * The backend of a chat with a history. `chat-events.ts` has what it shares with its browsers.
 */
import { Array, DateTime, Effect, Layer, SynchronizedRef } from "effect"
import { Client, EventRouter } from "kosmonaut"
import { Chat, Line, Room } from "./chat-events.ts"

/** Handles what browsers trigger and request, and stores the last hundred lines. */
export const ChatLive = Chat.toLayer(Effect.gen(function*() {
  const client = yield* Client.Client
  const history = yield* SynchronizedRef.make<ReadonlyArray<Line>>([])
  return Chat.of({
    // Nobody else writes meanwhile, so the history has the order in which the room received it.
    say: ({ text }, { uid = "somebody" }) =>
      SynchronizedRef.updateEffect(
        history,
        Effect.fnUntraced(function*(lines) {
          const line = new Line({ by: uid, text, at: yield* DateTime.now })
          yield* client.broadcast(Room, "said", line)
          return Array.takeRight(Array.append(lines, line), 100)
        })
      ),
    // Not between a broadcast and its line: the browser would miss that one.
    history: () => SynchronizedRef.modifyEffect(history, (lines) => Effect.succeed([lines, lines]))
  })
}))

/** Listens, and gives each event to its handler. */
export const Router = EventRouter.layer(Chat).pipe(Layer.provide(ChatLive))
