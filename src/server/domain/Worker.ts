/**
 * A worker's connection, as the engine sees it: it receives events.
 *
 * @since 0.1.0
 */

import type * as Effect from "effect/Effect"
import type { Delivery } from "../../protocol/Trigger.ts"

/**
 * One worker on one connection.
 *
 * @since 0.1.0
 */
export interface Worker {
  /** Its identity, unique among the vhost's workers. */
  readonly id: string
  /** Identifies its connection among those with the same identity. */
  readonly connection: unknown
  /** Whether it receives lifecycle events. */
  readonly lifecycle: boolean
  /** Whether it takes requests, default no. Only if it acks. */
  readonly responses?: boolean | undefined
  /** How many unacked events it wants at most; `undefined` for one that does not ack, as the original's. */
  readonly prefetch: number | undefined
  /** After how many failures of its handler an event becomes a dead letter. */
  readonly maxAttempts: number
  /** Sends an event; `settled` is called exactly once with the outcome. Never waits. */
  readonly deliverUnsafe: (
    json: string,
    origin: string | undefined,
    settled: (delivered: boolean) => void,
    delivery: Delivery | undefined
  ) => void
  /** Sends a heartbeat. */
  readonly heartbeatUnsafe: () => void
  /** Sends `QT`, and closes its connection. */
  readonly dismiss: Effect.Effect<void>
}
