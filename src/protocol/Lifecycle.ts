/**
 * The lifecycle events of a vhost, for workers that opted in: their names and data on the wire.
 *
 * The names begin with `:`, so no browser can trigger one. (Source: our own; the original has none of this.)
 *
 * @since 0.1.0
 */

import type { JsonObject } from "./Json.ts"
import type { Event } from "./Trigger.ts"

/**
 * The group that the names of lifecycle events begin with.
 *
 * @since 0.1.0
 */
export const group = ":lifecycle"

/**
 * Whether the text of `{"<event>": {…}}` is that of a lifecycle event.
 *
 * @since 0.1.0
 */
export const isIn = (json: string): boolean => json.startsWith(`{"${group}/`)

const event = (name: string, data: JsonObject): Event => ({ event: `${group}/${name}`, data })

/**
 * The first browser has subscribed to a channel; hidden ones count.
 *
 * @since 0.1.0
 */
export const channelOccupied = (channel: string): Event => event("channelOccupied", { channel })

/**
 * The last browser has left a channel, or the channel was closed while browsers were subscribed.
 *
 * @since 0.1.0
 */
export const channelVacated = (channel: string): Event => event("channelVacated", { channel })

/**
 * A user is a member of a presence channel, with the first connection that is not hidden; `data` are that connection's.
 *
 * @since 0.1.0
 */
export const memberJoined = (channel: string, uid: string, data: JsonObject): Event =>
  event("memberJoined", { channel, uid, data })

/**
 * A user is no longer a member of a presence channel: its last connection that is not hidden has left; `data` are that
 * connection's.
 *
 * @since 0.1.0
 */
export const memberLeft = (channel: string, uid: string, data: JsonObject): Event =>
  event("memberLeft", { channel, uid, data })

/**
 * A browser has connected.
 *
 * @since 0.1.0
 */
export const browserConnected = (sid: string): Event => event("browserConnected", { sid })

/**
 * A browser has disconnected; `uid` is the user it had authenticated as, if any.
 *
 * @since 0.1.0
 */
export const browserDisconnected = (sid: string, uid: string | undefined): Event =>
  event("browserDisconnected", { sid, ...(uid !== undefined && { uid }) })
