/**
 * How a Worker stands with its broker.
 *
 * @since 0.1.0
 */

import * as Data from "effect/Data"
import type { ConnectionError } from "../protocol/KosmonautError.ts"

/**
 * - `Idle`: nobody listens.
 * - `Connecting`: a connection is being made, or made and not greeted yet.
 * - `Connected`: the broker has greeted the worker, which takes events.
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
