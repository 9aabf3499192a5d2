/**
 * Events that belong together, under one name: what browsers and backends agree on. On the wire an event is called
 * `group/event`, the form that WebRocket's backends have always dispatched by.
 *
 * **Example** (A group, and what it says of an event)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { type Event, EventGroup } from "kosmonaut"
 *
 * class Chat extends EventGroup.make("chat", {
 *   say: { room: Schema.String, text: Schema.String, at: Schema.Date },
 *   left: {}
 * }) {}
 *
 * Chat.events.say.wireName // "chat/say"
 * type Say = Event.Data<typeof Chat.events.say> // { readonly room: string; readonly text: string; readonly at: Date }
 * ```
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Event from "./Event.ts"

const TypeId = "~kosmonaut/events/EventGroup"

/**
 * A group of events. It is a value and can be extended by a class, which gives it a short name in types; a class has a
 * `name` of its own, so the group's is `identifier`.
 *
 * @since 0.1.0
 */
export interface EventGroup<out Name extends string, out Events extends { readonly [name: string]: Event.Any }> {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  /** The group's name, the first part of its events' names on the wire. */
  readonly identifier: Name
  /** Its events, by their names in the group. */
  readonly events: Events
}

/**
 * Any group.
 *
 * @since 0.1.0
 */
export interface Any extends EventGroup<string, { readonly [name: string]: Event.Any }> {}

/**
 * What the events of a group are defined by: for each name, the fields of its data or a Schema of them.
 *
 * @since 0.1.0
 */
export type Payloads = { readonly [name: string]: Event.PayloadSchema | Event.PayloadFields }

/**
 * The events that payloads define.
 *
 * @since 0.1.0
 */
export type ToEvents<Group extends string, P extends Payloads> = {
  readonly [Name in keyof P & string]: Event.Event<Group, Name, Event.ToSchema<P[Name]>>
}

/**
 * Defines a group. The names of groups and of events are not empty, have no `/` and do not begin with `:`, as those of the
 * system do; where the compiler cannot tell, a wrong one is an error at once.
 *
 * @since 0.1.0
 */
export const make = <const Name extends string, const P extends Payloads>(
  name: Name extends Wrong ? Advice : Name,
  payloads: P & { readonly [K in keyof P]: K extends Wrong ? Advice : unknown }
): EventGroup<Name, ToEvents<Name, P>> => {
  const wrong = [name, ...Object.keys(payloads)].find(isWrong)
  return Result.getOrThrow(
    // The compiler does not follow a condition that holds.
    wrong === undefined ? Result.succeed(unchecked<Name, P>(name as Name, payloads)) : Result.fail(
      new Error(
        `Neither a group nor an event can be called ${JSON.stringify(wrong)}: a name is not empty, has no "/", ` +
          `which stands between group and event, and does not begin with ":", as those of the system do`
      )
    )
  )
}

/**
 * Defines a group whatever the names, for those of the system.
 *
 * @internal
 */
export const unchecked = <const Name extends string, const P extends Payloads>(
  name: Name,
  payloads: P
): EventGroup<Name, ToEvents<Name, P>> => {
  const events = Object.fromEntries(
    Object.entries<Event.PayloadSchema | Event.PayloadFields>(payloads).map((
      [event, payload]
    ) => [event, Event.make(name, event, payload)])
  )
  // The compiler does not follow a record through its entries.
  return Object.assign(
    function() {} as unknown as new(_: never) => {},
    { [TypeId]: TypeId, identifier: name, events: events as unknown as ToEvents<Name, P> } as const
  )
}

type Wrong = "" | `:${string}` | `${string}/${string}`

type Advice = "A name is not empty, has no / and does not begin with :"

const isWrong = (name: string): boolean => name === "" || name.startsWith(":") || name.includes("/")
