/**
 * Declares a channel once: its kind, the parameters in its name, and the events that are broadcast on it.
 *
 * **Example** (A channel for each room)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Channel, Event, EventGroup } from "kosmonaut/events"
 *
 * class Talk extends EventGroup.make("talk", Event.make("said", { payload: { text: Schema.String } })) {}
 *
 * const News = Channel.make("news", { events: Talk })
 * const Room = Channel.make("room", { kind: "presence", params: { id: Schema.String }, events: Talk })
 *
 * News.name // "news"
 * Room({ id: "42" }).name // "presence-room-42"
 * Room.pattern({ id: "42" }) // a pattern for a single access token that allows this room alone
 * Room.pattern() // one that allows every room
 * ```
 *
 * The name of a channel with parameters is its own, `-`, and the values, separated by `..`. In a value each byte that is not
 * a letter, a digit, `_` or `-` is written as `.` and two hexadecimal digits, so that every value gives a valid name and no
 * two lists of values give the same.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ChannelName from "../protocol/ChannelName.ts"
import type * as Event from "./Event.ts"
import type * as EventGroup from "./EventGroup.ts"

const TypeId = "~kosmonaut/events/Channel"

/**
 * A channel with a name, and the events that are broadcast on it. What the operations of a Client take.
 *
 * @since 0.1.0
 */
export interface Reference<out Events extends { readonly [name: string]: Event.Any }> {
  // A channel with parameters is a function, and a function has a name, too.
  readonly [TypeId]: typeof TypeId
  /** Its name, which also says its kind: `presence-…`, `private-…`, or normal. */
  readonly name: string
  readonly kind: ChannelName.Kind
  /** Its events, by their names in their groups. */
  readonly events: Events
}

/**
 * Any channel with a name.
 *
 * @since 0.1.0
 */
export interface Any extends Reference<{ readonly [name: string]: Event.Any }> {}

/**
 * A channel with parameters: a function from their values to the channel.
 *
 * @since 0.1.0
 */
export interface Parameterized<Params extends ParamSchemas, out Events extends { readonly [name: string]: Event.Any }> {
  (params: Values<Params>): Reference<Events>
  readonly kind: ChannelName.Kind
  readonly events: Events
  /**
   * The pattern, RE2 syntax, that matches the names of the channels with these values, quoted. A parameter that is not given
   * may have any value.
   */
  readonly pattern: (params?: Partial<Values<Params>>) => string
}

/**
 * The Schemas of the parameters, each of something that is a string or a number when encoded.
 *
 * @since 0.1.0
 */
export type ParamSchemas = { readonly [name: string]: Schema.ConstraintCodec<unknown, string | number> }

/**
 * The values of the parameters.
 *
 * @since 0.1.0
 */
export type Values<Params extends ParamSchemas> = { readonly [Name in keyof Params]: Params[Name]["Type"] }

/**
 * One group of events, or several whose events have different names.
 *
 * @since 0.1.0
 */
export type Groups = EventGroup.Any | ReadonlyArray<EventGroup.Any>

/**
 * The events of groups, by their names in their groups.
 *
 * @since 0.1.0
 */
export type EventsIn<G extends Groups> = G extends EventGroup.Any ? G["events"]
  : G extends readonly [infer First extends EventGroup.Any, ...infer Rest extends ReadonlyArray<EventGroup.Any>]
    ? First["events"] & EventsIn<Rest>
  : {}

/**
 * Declares a channel with parameters, `Room({ id: "42" })`. Its own name has letters, digits and `_`; any other is an error
 * at once. Do not give a channel without parameters a name that begins with `room-`, if there is such a `Room`: that is the
 * name of one of its rooms, and who may join it.
 *
 * @since 0.1.0
 */
export function make<const Params extends ParamSchemas, const G extends Groups>(name: string, options: {
  /** `presence` and `private` channels need a token, and on `presence` channels browsers see who is there; default `normal`. */
  readonly kind?: ChannelName.Kind | undefined
  /** The parameters, in the order of their values in the name. */
  readonly params: Params
  /** The events that are broadcast on it. */
  readonly events: G
}): Parameterized<Params, EventsIn<G>>

/**
 * Declares a channel.
 *
 * @since 0.1.0
 */
export function make<const G extends Groups>(name: string, options: {
  readonly kind?: ChannelName.Kind | undefined
  readonly events: G
}): Reference<EventsIn<G>> & {
  /** The pattern, RE2 syntax, that matches its name, quoted. */
  readonly pattern: () => string
}

export function make(name: string, { events: groups, kind: declared = "normal", params }: {
  readonly kind?: ChannelName.Kind | undefined
  readonly params?: ParamSchemas | undefined
  readonly events: Groups
}): unknown {
  // The first `-` of a name is where the values begin, or two declarations could give one name.
  if (params !== undefined && !/^\w+$/.test(name)) return Result.getOrThrow(Result.fail(wrongName(name)))
  const base = declared === "normal" ? name : `${declared}-${name}`
  const kind = ChannelName.kind(params === undefined ? base : `${base}-`)
  const events = eventsOf([groups].flat() as ReadonlyArray<EventGroup.Any>)
  if (params === undefined) return { [TypeId]: TypeId, name: base, kind, events, pattern: () => quote(base) }
  const encoders = Object.entries(params).map(([param, schema]) => [param, Schema.encodeUnknownSync(schema)] as const)
  const textOf = (values: Record<string, unknown>, [param, encode]: (typeof encoders)[number]): string =>
    escape(String(encode(values[param])))
  return Object.assign(
    (values: Record<string, unknown>) => ({
      [TypeId]: TypeId,
      name: `${base}-${encoders.map((encoder) => textOf(values, encoder)).join("..")}`,
      kind,
      events
    }),
    {
      kind,
      events,
      pattern: (values: Record<string, unknown> = {}) => {
        const parts = encoders.map((encoder) =>
          values[encoder[0]] === undefined ? anyValue : quote(textOf(values, encoder))
        )
        return `${quote(`${base}-`)}${parts.join(quote(".."))}`
      }
    }
  )
}

const wrongName = (name: string): TypeError =>
  new TypeError(
    `A channel with parameters cannot be called ${
      JSON.stringify(name)
    }: its name has letters, digits and "_" only, since ` +
      `"-" stands between it and the values. Its kind is an option: { kind: "presence" }`
  )

const eventsOf = (groups: ReadonlyArray<EventGroup.Any>): Readonly<Record<string, Event.Any>> => {
  const all = groups.flatMap(({ events }) => Object.entries(events))
  const twice = all.find(([name], index) => all.findIndex(([other]) => other === name) < index)
  return Result.getOrThrow(
    twice === undefined ? Result.succeed(Object.fromEntries(all)) : Result.fail(
      new TypeError(
        `A channel cannot have the event ${
          JSON.stringify(twice[0])
        } of two groups: it finds events by their names in their ` +
          "groups. Rename one, or have a channel for each"
      )
    )
  )
}

/**
 * Quotes a name for use in the pattern of a single access token, so that it matches itself alone.
 *
 * @since 0.1.0
 */
export const quote = (name: string): string => name.replace(notLiteral, "\\$&")

// ASCII alone: RE2 takes no backslash before another character.
const notLiteral = /[^\w\u0080-\uffff-]/g

const anyValue = "(?:[\\w-]|\\.[0-9a-f]{2})*"

const escape = (value: string): string =>
  value.replace(
    /[^\w-]/gu,
    (character) => Array.from(bytesOf(character), (byte) => `.${byte.toString(16).padStart(2, "0")}`).join("")
  )

// Half of a character has bytes of its own: UTF-8 would have the same for all of them.
const bytesOf = (character: string): Iterable<number> => {
  const code = character.charCodeAt(0)
  return character.length === 1 && code >= 0xd800 && code <= 0xdfff
    ? [0xe0 | code >> 12, 0x80 | code >> 6 & 0x3f, 0x80 | code & 0x3f]
    : encoder.encode(character)
}

const encoder = new TextEncoder()
