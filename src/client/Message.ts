/**
 * An event as a handler receives it, and the functions that reply to it. A message is plain data; replies go through the
 * `Client` in the context.
 *
 * **Example** (Replying to the browser that triggered an event)
 *
 * ```ts
 * import { Message } from "kosmonaut"
 *
 * export const handler = (_data: unknown, message: Message.Message<unknown>) =>
 *   Message.directReply(message, "welcome", { attempt: message.attempt })
 * ```
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import type * as Channel from "../events/Channel.ts"
import type * as Event from "../events/Event.ts"
import type { Message } from "../events/Message.ts"
import type { JsonObject } from "../protocol/Json.ts"
import type { BrowserNotFoundError, ChannelNotFoundError } from "../protocol/KosmonautError.ts"
import type { Delivery, Event as Triggered, Origin } from "../protocol/Trigger.ts"
import { type BroadcastOptions, type ChannelLike, Client, type RequestError } from "./Client.ts"

export type { Message } from "../events/Message.ts"

/**
 * Broadcasts an event on a channel in reply to a message, exactly as `Client.broadcast` does.
 *
 * @since 0.1.0
 */
export const broadcastReply: {
  <E extends { readonly [name: string]: Event.Any }, Name extends keyof E & string>(
    message: Message<unknown>,
    channel: Channel.Reference<E>,
    event: Name,
    data: Event.Payload<E[Name]>,
    options?: BroadcastOptions
  ): Effect.Effect<void, RequestError | ChannelNotFoundError, Client>
  (
    message: Message<unknown>,
    channel: string,
    event: string,
    data?: object,
    options?: BroadcastOptions
  ): Effect.Effect<void, RequestError | ChannelNotFoundError, Client>
  <E extends Event.Any>(
    message: Message<unknown>,
    channel: ChannelLike,
    event: E,
    data: Event.Payload<E>,
    options?: BroadcastOptions
  ): Effect.Effect<void, RequestError | ChannelNotFoundError, Client>
} = (
  _message: Message<unknown>,
  channel: ChannelLike,
  event: string | Event.Any,
  data?: unknown,
  options?: BroadcastOptions
) =>
  // By a name or by a declaration, which the Client distinguishes.
  Effect.flatMap(
    Client,
    (client) => client.broadcast(channel as string, event as string, data as object, options)
  )

/**
 * Broadcasts the data of a message on a channel as they came, as the same event or another.
 *
 * @since 0.1.0
 */
export const broadcastCopy = (
  message: Message<unknown>,
  channel: string | Channel.Any,
  event: string = message.event
): Effect.Effect<void, RequestError | ChannelNotFoundError, Client> =>
  Effect.flatMap(
    Client,
    (client) => client.broadcast(typeof channel === "string" ? channel : channel.name, event, message.raw)
  )

/**
 * Sends an event to the browser that triggered a message. Fails with `BrowserNotFoundError` if that has disconnected, and
 * with a `ProtocolError` on a broker that does not know the command, as the original.
 *
 * @since 0.1.0
 */
export const directReply: {
  (
    message: Message<unknown>,
    event: string,
    data?: object
  ): Effect.Effect<void, RequestError | BrowserNotFoundError, Client>
  <E extends Event.Any>(
    message: Message<unknown>,
    event: E,
    data: Event.Payload<E>
  ): Effect.Effect<void, RequestError | BrowserNotFoundError, Client>
} = (message: Message<unknown>, event: string | Event.Any, data?: unknown) =>
  // By a name or by a declaration, which the Client distinguishes.
  Effect.flatMap(Client, (client) => client.sendTo(message.sid ?? "", event as string, data as object))

/**
 * What a message is made of: an event, and its origin and delivery, if the broker sends them.
 *
 * @since 0.1.0
 */
export interface Arrived {
  /** The id of the event. */
  readonly id: string
  readonly event: Triggered
  readonly origin: Origin | undefined
  readonly delivery: Delivery | undefined
  /** The deadline of a request; `undefined` for an event. */
  readonly deadline?: number | undefined
}

/**
 * Makes a message from an event, its origin and its delivery. If the broker sends no origin, as the
 * original, the data do.
 *
 * @since 0.1.0
 */
export const make = (
  { deadline, delivery, event: { data, event }, id, origin = originIn(data) }: Arrived
): Message => ({
  event,
  data,
  raw: data,
  channel: origin.channel,
  sid: origin.sid,
  uid: origin.uid,
  id,
  attempt: delivery?.attempt ?? 1,
  isRequest: deadline !== undefined
})

const originIn = ({ channel, sid }: JsonObject): Origin => ({
  sid: typeof sid === "string" ? sid : undefined,
  channel: typeof channel === "string" ? channel : undefined
})
