/**
 * A channel and the events that are broadcast on it.
 *
 * If there is a channel for each user, room or order, write a function:
 *
 * ```ts
 * const Inbox = (user: string) => Channel.make(`private-inbox-${user}`, Mail)
 * ```
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import type * as Event from "./Event.ts"
import type * as EventGroup from "./EventGroup.ts"

/**
 * A channel of the events of a group, or of several: `Group` is one type or a union.
 *
 * @since 0.1.0
 */
export interface Channel<out Group extends EventGroup.Any> {
  /** Its name, which also says its kind: `presence-…`, `private-…`, or normal. */
  readonly name: string
  /** The groups of the events that are broadcast on it. */
  readonly groups: ReadonlyArray<Group>
  /** The events that are broadcast on it, by their names in their groups. */
  readonly events: Events<Group>
}

/**
 * Any channel.
 *
 * @since 0.1.0
 */
export interface Any extends Channel<EventGroup.Any> {}

/**
 * The events of a group, or of a union of groups, by their names.
 *
 * @since 0.1.0
 */
export type Events<Group extends EventGroup.Any> = {
  readonly [Name in NameOf<Group>]: Group extends
    { readonly events: { readonly [N in Name]: infer E extends Event.Any } } ? E
    : never
}

type NameOf<Group extends EventGroup.Any> = Group extends EventGroup.Any ? keyof Group["events"] & string : never

/**
 * Names a channel and its events, those of one group or of several. No two of these groups may have an event of the same
 * name: that is an error at once. Parts of the channel's name often come from outside, so it is not checked here: the
 * operation that uses the channel fails if the name is none that a channel can have.
 *
 * @since 0.1.0
 */
export const make = <const Groups extends readonly [EventGroup.Any, ...ReadonlyArray<EventGroup.Any>]>(
  name: string,
  ...groups: Groups
): Channel<Groups[number]> => {
  const events: Record<string, Event.Any> = {}
  for (const [event, definition] of groups.flatMap((group) => Object.entries(group.events))) {
    if (events[event] !== undefined) return Result.getOrThrow(Result.fail(twice(events[event], definition)))
    events[event] = definition
  }
  // The compiler does not follow a record through its entries.
  return { name, groups, events: events as unknown as Events<Groups[number]> }
}

const twice = (one: Event.Any, other: Event.Any): Error =>
  new Error(
    `A channel cannot have both ${one.wireName} and ${other.wireName}: it finds its events by the names that they have in ` +
      "their groups. Rename one, or have a channel for each"
  )
