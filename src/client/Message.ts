/**
 * An event in a handler's hands: what was triggered, by whom, and the ways to answer.
 *
 * @since 0.1.0
 */

import type * as Effect from "effect/Effect"
import type * as Event from "../events/Event.ts"
import type { JsonObject } from "../protocol/Json.ts"
import type { BrowserNotFoundError, ChannelNotFoundError } from "../protocol/KosmonautError.ts"
import type { Delivery, Event as Triggered, Origin } from "../protocol/Trigger.ts"
import type { Client, RequestError } from "./Client.ts"

/**
 * An event that a browser has triggered, or a lifecycle event.
 *
 * @since 0.1.0
 */
export interface Message<out Data = JsonObject> {
  /** Its name on the wire. */
  readonly event: string
  readonly data: Data
  /** The channel, where it came with a broadcast. */
  readonly channel: string | undefined
  /** The browser that triggered it. */
  readonly sid: string | undefined
  /** The user that this browser has authenticated as; the original broker does not tell. */
  readonly uid: string | undefined
  /**
   * The event's id, the same at every delivery of it: a handler that must not do something twice can remember it. A broker
   * that does not wait for acknowledgements, as the original, delivers each event once and has no ids; then the id is made
   * by the worker.
   */
  readonly id: string
  /** How often it was handed out, this time included: more than 1 for one that somebody had before and did not finish. */
  readonly attempt: number
  /** Broadcasts something to a channel, exactly as `Client.broadcast` does. */
  readonly broadcastReply: Client["Service"]["broadcast"]
  /** Broadcasts the data as they came to a channel, as the same event or another. */
  readonly broadcastCopy: (
    channel: string,
    event?: string
  ) => Effect.Effect<void, RequestError | ChannelNotFoundError>
  /**
   * Answers the one browser that triggered it. Fails with `BrowserNotFoundError` when that has gone. An addition to WebRocket
   * 0.3: over a broker that does not know it, as the original, it fails with `BadRequestError`.
   */
  readonly directReply: {
    (event: string, data?: object): Effect.Effect<void, RequestError | BrowserNotFoundError>
    <E extends Event.Any>(event: E, data: Event.Data<E>): Effect.Effect<void, RequestError | BrowserNotFoundError>
  }
}

/**
 * What a message is made of: an event, and what the broker says of its origin and its delivery, where it says anything.
 *
 * @since 0.1.0
 */
export interface Arrived {
  /** The id of the event. */
  readonly id: string
  readonly event: Triggered
  readonly origin: Origin | undefined
  readonly delivery: Delivery | undefined
}

/**
 * A message from an event, its origin and its delivery. What the broker says of the origin counts; where it says nothing, as the
 * original, what stands in the data.
 *
 * @since 0.1.0
 */
export const make = (
  client: Client["Service"],
  { delivery, event: { data, event }, id, origin = originIn(data) }: Arrived
): Message => ({
  event,
  data,
  channel: origin.channel,
  sid: origin.sid,
  uid: origin.uid,
  id,
  attempt: delivery?.attempt ?? 1,
  broadcastReply: client.broadcast,
  broadcastCopy: (channel, copy = event) => client.broadcast(channel, copy, data),
  // By a name or by a definition, which the Client tells apart.
  directReply: (reply: string, answer?: object) => client.sendTo(origin.sid ?? "", reply, answer)
})

/**
 * The same message with other data, those that a Schema has made of them. Copies are still of the data as they came.
 *
 * @since 0.1.0
 */
export const withData = <Data>(message: Message, data: Data): Message<Data> => ({ ...message, data })

const originIn = ({ channel, sid }: JsonObject): Origin => ({
  sid: typeof sid === "string" ? sid : undefined,
  channel: typeof channel === "string" ? channel : undefined
})
