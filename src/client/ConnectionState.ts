/**
 * How a listening of a Worker stands with its broker.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { ConnectionError } from "../protocol/KosmonautError.ts"

/**
 * - `Idle`: nobody listens.
 * - `Connecting`: a connection is being made, or is made and the broker has sent no heartbeat yet.
 * - `Connected`: the broker has sent a heartbeat, and the worker takes events.
 * - `Disconnected`: the connection could not be made or was lost, for this reason; another attempt follows.
 *
 * @since 0.1.0
 */
export type ConnectionState = Data.TaggedEnum<{
  Idle: {}
  Connecting: {}
  Connected: {}
  Disconnected: { readonly reason: ConnectionError }
}>

/**
 * Constructors and matchers of `ConnectionState`.
 *
 * @since 0.1.0
 */
export const ConnectionState = Data.taggedEnum<ConnectionState>()

/**
 * Makes the state of one listening, `Idle` at first: give it to `Worker.listen`, `Worker.messages` or `EventRouter.layer`,
 * which then keep it current.
 *
 * @since 0.1.0
 */
export const make: Effect.Effect<SubscriptionRef.SubscriptionRef<ConnectionState>> = SubscriptionRef.make<
  ConnectionState
>(ConnectionState.Idle())
