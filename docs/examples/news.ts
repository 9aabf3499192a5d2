/**
 * The channel of `nothing-missed.ts`.
 */
import { Schema } from "effect"
import { Channel, Event, EventGroup } from "kosmonaut/events"

export class Headlines extends EventGroup.make(
  "headlines",
  Event.make("headline", { payload: { text: Schema.NonEmptyString } })
) {}

export const News = Channel.make("news", { events: Headlines })
