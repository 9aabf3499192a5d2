/**
 * What happens in a vhost by itself, as groups of events: channels that are occupied or vacated, members that join or
 * leave, browsers that connect or disconnect.
 *
 * A router that handles one of these groups is given lifecycle events, and ignores those of the others. Each event goes to
 * exactly one of the workers that take them, in order with what browsers trigger. No browser can forge one. The original
 * broker has none.
 *
 * **Example** (Logging who joins and leaves)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EventRouter, Lifecycle } from "kosmonaut"
 *
 * const Presence = Lifecycle.Members.toLayer({
 *   memberJoined: (data) => Effect.log(`${data.uid} is on ${data.channel}`),
 *   memberLeft: (data) => Effect.log(`${data.uid} has left ${data.channel}`)
 * })
 *
 * export const Router = EventRouter.layer(Lifecycle.Members).pipe(Layer.provide(Presence))
 * ```
 *
 * @since 0.1.0
 */

import * as Schema from "effect/Schema"
import { group } from "../protocol/Lifecycle.ts"
import * as Event from "./Event.ts"
import * as EventGroup from "./EventGroup.ts"

/**
 * A channel has its first browser, or its last has left, or it was closed with browsers on it. Hidden ones count.
 *
 * @since 0.1.0
 */
export class Channels extends EventGroup.unchecked(
  group,
  Event.make("channelOccupied", { payload: { channel: Schema.String } }),
  Event.make("channelVacated", { payload: { channel: Schema.String } })
) {}

const member = { channel: Schema.String, uid: Schema.String, data: Schema.JsonObject }

/**
 * A user is on a presence channel, with the first browser that is not hidden, or the last of them has left. `data` is what
 * that browser sent with its subscription; the broker vouches for the `uid` alone. Browsers, unlike workers, see each browser
 * of a user.
 *
 * @since 0.1.0
 */
export class Members extends EventGroup.unchecked(
  group,
  Event.make("memberJoined", { payload: member }),
  Event.make("memberLeft", { payload: member })
) {}

/**
 * A browser has connected or disconnected; `uid` is the user that it had authenticated as.
 *
 * @since 0.1.0
 */
export class Browsers extends EventGroup.unchecked(
  group,
  Event.make("browserConnected", { payload: { sid: Schema.String } }),
  Event.make("browserDisconnected", { payload: { sid: Schema.String, uid: Schema.optional(Schema.String) } })
) {}
