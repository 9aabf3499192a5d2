/**
 * What the browsers and the backends of a chat agree on. Both import it: nothing here needs Node.js.
 */
import { Schema } from "effect"
import { Channel, Event, EventGroup } from "kosmonaut/events"

/** Something that was said. */
export class Line extends Schema.Class<Line>("Line")({
  by: Schema.String,
  text: Schema.String,
  at: Schema.DateTimeUtc
}) {}

/** What browsers trigger and request. */
export class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: { text: Schema.NonEmptyString } }),
  Event.make("history", { success: Schema.Array(Line) })
) {}

/** What browsers receive. */
export class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: Line })
) {}

/** Where they receive it. */
export const Room = Channel.make("room", { kind: "presence", events: Talk })
