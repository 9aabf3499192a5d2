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

import type * as EventGroup from "./EventGroup.ts"

/**
 * A channel of the events of a group.
 *
 * @since 0.1.0
 */
export interface Channel<out Group extends EventGroup.Any> {
  /** Its name, which also says its kind: `presence-…`, `private-…`, or normal. */
  readonly name: string
  /** The events that are broadcast on it. */
  readonly group: Group
}

/**
 * Any channel.
 *
 * @since 0.1.0
 */
export interface Any extends Channel<EventGroup.Any> {}

/**
 * Names a channel and its events. Parts of the name often come from outside, so it is not checked here: the operation that
 * the channel is used with fails if the name is not valid.
 *
 * @since 0.1.0
 */
export const make = <Group extends EventGroup.Any>(name: string, group: Group): Channel<Group> => ({ name, group })
