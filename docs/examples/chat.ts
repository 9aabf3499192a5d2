/**
 * A chat with a history: what browsers and backends agree on, and a backend that stores it.
 */
import { Array, DateTime, Effect, Layer, Schema, SynchronizedRef } from "effect"
import { Channel, Client, Event, EventGroup, EventRouter, Message } from "kosmonaut"

/** What browsers trigger. */
export class Chat extends EventGroup.make(
  "chat",
  Event.make("join"),
  Event.make("say", { payload: { text: Schema.NonEmptyString } })
) {}

/** Something that was said. */
export class Line extends Schema.Class<Line>("Line")({
  by: Schema.String,
  text: Schema.String,
  at: Schema.DateTimeUtc
}) {}

/** What browsers receive. */
export class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: Line }),
  Event.make("history", { payload: { lines: Schema.Array(Line) } })
) {}

/** Where they receive it. */
export const Room = Channel.make("room", { events: Talk })

/** Handles what browsers trigger, and stores the last hundred lines. */
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
    // For this browser alone, and not between a broadcast and its line: it would miss that one.
    join: (_data, message) =>
      SynchronizedRef.updateEffect(
        history,
        (lines) => Effect.as(Message.directReply(message, Talk.events.history, { lines }), lines)
      ).pipe(
        // It has disconnected meanwhile.
        Effect.catchTag("BrowserNotFoundError", () => Effect.void)
      )
  })
}))

/** Listens, and gives each event to its handler. */
export const Router = EventRouter.layer(Chat).pipe(Layer.provide(ChatLive))
