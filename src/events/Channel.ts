/**
 * A channel and the events that are broadcast on it.
 *
 * Where there is one for each user, room or order, a function makes them:
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
 * Names a channel and its events. Parts of the name often come from outside, so it is not checked here: whoever uses the
 * channel hears of a name that none can have, from the operation it is used with.
 *
 * @since 0.1.0
 */
export const make = <Group extends EventGroup.Any>(name: string, group: Group): Channel<Group> => ({ name, group })
