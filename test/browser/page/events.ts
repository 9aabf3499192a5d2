/** What the tests' pages trigger, request and receive. */
import { Schema } from "effect"
import { Channel, Event, EventGroup } from "../../../src/events/index.ts"

const Data = { n: Schema.Number }

export class Talk extends EventGroup.make("talk", Event.make("said", { payload: Data })) {}

export const Room = Channel.make("room", { kind: "presence", events: Talk })

export class Taken extends Schema.TaggedError<Taken>("test/Taken")("Taken", { by: Schema.String }) {}

export class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: Data }),
  Event.make("when", { payload: { at: Schema.DateTimeUtc }, success: Schema.DateTimeUtc }),
  Event.make("rename", { payload: { to: Schema.String }, error: Taken }),
  Event.make("crash", { success: Schema.String })
) {}
