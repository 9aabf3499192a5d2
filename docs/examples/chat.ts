/**
 * A chat that remembers: what browsers and backends agree on, and a backend that stores it.
 */
import { Array, DateTime, Effect, Schema, SynchronizedRef } from "effect"
import { Channel, Client, EventGroup, EventRouter } from "kosmonaut"

/** What browsers trigger. */
export class Chat extends EventGroup.make("chat", {
  join: {},
  say: { text: Schema.NonEmptyString }
}) {}

/** Something that was said. */
export class Line extends Schema.Class<Line>("Line")({
  by: Schema.String,
  text: Schema.String,
  at: Schema.DateTimeUtc
}) {}

/** What browsers receive. */
export class Talk extends EventGroup.make("talk", {
  said: Line,
  history: { lines: Schema.Array(Line) }
}) {}

/** Where they receive it. */
export const Room = Channel.make("room", Talk)

/** Handles what browsers trigger, and stores the last hundred lines. */
export const Handlers = EventRouter.layer(
  Chat,
  Effect.gen(function*() {
    const client = yield* Client.Client
    const room = client.channel(Room)
    const history = yield* SynchronizedRef.make<ReadonlyArray<Line>>([])
    return {
      // Nobody else writes meanwhile, so the history has the order in which the room received it.
      say: ({ data, uid = "somebody" }) =>
        SynchronizedRef.updateEffect(
          history,
          Effect.fnUntraced(function*(lines) {
            const line = new Line({ by: uid, text: data.text, at: yield* DateTime.now })
            yield* room.broadcast("said", line)
            return Array.takeRight(Array.append(lines, line), 100)
          })
        ),
      // For this browser alone, and not between a broadcast and its line: it would miss that one.
      join: (message) =>
        SynchronizedRef.updateEffect(
          history,
          (lines) => Effect.as(message.directReply(Talk.events.history, { lines }), lines)
        ).pipe(
          // It has gone meanwhile.
          Effect.catchTag("BrowserNotFoundError", () => Effect.void)
        )
    }
  })
)
