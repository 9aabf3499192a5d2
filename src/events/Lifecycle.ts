/**
 * The lifecycle events of a vhost as groups: channels that are occupied or vacated, members that join or leave, browsers
 * that connect or disconnect.
 *
 * A router that handles one of these groups receives lifecycle events, and ignores those of the other groups. Each event
 * goes to exactly one of the workers that take them, in order with what browsers trigger. No browser can trigger one. The
 * original broker has none.
 *
 * **Example** (Following who joins and leaves)
 *
 * ```ts
 * const Presence = EventRouter.layer(Lifecycle.Members, {
 *   memberJoined: ({ data }) => Effect.log(`${data.uid} is on ${data.channel}`),
 *   memberLeft: ({ data }) => Effect.log(`${data.uid} has left ${data.channel}`)
 * })
 * ```
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import { group } from "../protocol/Lifecycle.ts"
import * as EventGroup from "./EventGroup.ts"

/**
 * A channel has its first subscriber, or its last one has left, or it was closed while it had some. Hidden ones count.
 *
 * @since 0.1.0
 */
export class Channels extends EventGroup.unchecked(group, {
  channelOccupied: { channel: Schema.String },
  channelVacated: { channel: Schema.String }
}) {}

const member = { channel: Schema.String, uid: Schema.String, data: Schema.JsonObject }

/**
 * A user has joined a presence channel with its first connection that is not hidden, or has left with the last one. `data`
 * are what the browser of that connection said of itself; the broker vouches for the `uid` alone. Browsers, unlike workers,
 * are told of each connection of a user.
 *
 * @since 0.1.0
 */
export class Members extends EventGroup.unchecked(group, { memberJoined: member, memberLeft: member }) {}

/**
 * A browser has connected, or has disconnected; `uid` is the user that it had authenticated as.
 *
 * @since 0.1.0
 */
export class Browsers extends EventGroup.unchecked(group, {
  browserConnected: { sid: Schema.String },
  browserDisconnected: { sid: Schema.String, uid: Schema.optional(Schema.String) }
}) {}
