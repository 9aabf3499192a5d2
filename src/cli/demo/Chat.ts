/**
 * What the demo's page and its backend agree on: the events that a page triggers, those that it receives, and the channel.
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import * as Channel from "../../events/Channel.ts"
import * as Event from "../../events/Event.ts"
import * as EventGroup from "../../events/EventGroup.ts"

/**
 * The longest name, in characters.
 *
 * @since 0.1.0
 */
export const maxName = 20

/**
 * Somebody else has this name.
 *
 * @since 0.1.0
 */
export class NameTaken extends Schema.TaggedError<NameTaken>("kosmonaut/cli/demo/NameTaken")("NameTaken", {
  name: Schema.String
}) {}

/**
 * The name has more than `max` characters.
 *
 * @since 0.1.0
 */
export class NameTooLong extends Schema.TaggedError<NameTooLong>("kosmonaut/cli/demo/NameTooLong")("NameTooLong", {
  max: Schema.Number
}) {}

const line = {
  /** Made by the page, which recognizes its own line by it. */
  id: Schema.String.check(Schema.isMaxLength(40)),
  text: Schema.NonEmptyString.check(Schema.isMaxLength(500))
}

/**
 * Something that was said: by whom, under which name, and when, in milliseconds since 1970.
 *
 * @since 0.1.0
 */
export const Line = Schema.Struct({ ...line, uid: Schema.String, name: Schema.String, at: Schema.Number })

/**
 * Something that was said.
 *
 * @since 0.1.0
 */
export type Line = typeof Line.Type

/**
 * What a page triggers and requests.
 *
 * @since 0.1.0
 */
export class Chat extends EventGroup.make(
  "chat",
  Event.make("say", { payload: line, primaryKey: ({ id }) => id }),
  Event.make("rename", {
    payload: { to: Schema.String.check(Schema.isPattern(/\S/)) },
    success: Schema.Struct({ name: Schema.String }),
    error: Schema.Union([NameTaken, NameTooLong])
  }),
  Event.make("catchUp", {
    success: Schema.Struct({ names: Schema.Record(Schema.String, Schema.String), lines: Schema.Array(Line) })
  })
) {}

/**
 * What all pages receive.
 *
 * @since 0.1.0
 */
class Talk extends EventGroup.make(
  "talk",
  Event.make("said", { payload: Line }),
  Event.make("named", { payload: { uid: Schema.String, name: Schema.String } })
) {}

/**
 * The channel on which everybody is.
 *
 * @since 0.1.0
 */
export const Station = Channel.make("station", { kind: "presence", events: Talk })
