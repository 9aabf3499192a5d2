/**
 * An event as a handler receives it: what was triggered, by whom, and how often it was delivered. Plain data; the functions
 * that reply to it are in `client/Message.ts`.
 *
 * @since 0.1.0
 */

import type { JsonObject } from "../protocol/Json.ts"

/**
 * An event that a browser triggered, or a lifecycle event.
 *
 * @since 0.1.0
 */
export interface Message<out Data = JsonObject> {
  /** The event's name on the wire, `chat/say`. */
  readonly event: string
  /** The event's data, decoded by its Schema where a router handles it. */
  readonly data: Data
  /** The data as they were received, before a Schema decoded them. */
  readonly raw: JsonObject
  /** The channel, if the event came with a broadcast. */
  readonly channel: string | undefined
  /** The connection of the browser that triggered it. */
  readonly sid: string | undefined
  /** The user that this browser has authenticated as. The original broker does not say. */
  readonly uid: string | undefined
  /**
   * The event's id, the same with every delivery of it: a handler that must not do something twice can remember it. A broker
   * without acknowledgements, as the original, delivers each event once and has no ids; then the worker makes one.
   */
  readonly id: string
  /** How often the event was delivered, this time included. More than 1 after a redelivery. */
  readonly attempt: number
  /** Whether it is a request, whose response is awaited. */
  readonly isRequest: boolean
}
