/**
 * What happens in a vhost by itself, as groups of events: channels that are occupied or vacated, members that join or
 * leave, browsers that connect or disconnect.
 *
 * A router that handles one of these groups is given lifecycle events, and ignores those of the others. Each event goes to
 * exactly one of the workers that take them, in order with what pages trigger. No page can pretend one. The original
 * broker has none.
 *
 * **Example** (Keeping who is there)
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
 * A channel has its first page, or its last has left, or it was closed with pages on it. Hidden pages count.
 *
 * @since 0.1.0
 */
export class Channels extends EventGroup.unchecked(group, {
  channelOccupied: { channel: Schema.String },
  channelVacated: { channel: Schema.String }
}) {}

const member = { channel: Schema.String, uid: Schema.String, data: Schema.JsonObject }

/**
 * A user is on a presence channel, with the first of its pages that is not hidden, or the last of them has left. `data` are
 * those that this page told the others of itself; the broker vouches for the `uid` alone. Pages, unlike this, are told of
 * each page of a user.
 *
 * @since 0.1.0
 */
export class Members extends EventGroup.unchecked(group, { memberJoined: member, memberLeft: member }) {}

/**
 * A page has connected, or has gone; `uid` is the user that it had authenticated as.
 *
 * @since 0.1.0
 */
export class Browsers extends EventGroup.unchecked(group, {
  browserConnected: { sid: Schema.String },
  browserDisconnected: { sid: Schema.String, uid: Schema.optional(Schema.String) }
}) {}
