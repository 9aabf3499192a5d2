/**
 * Requests with a connection each, for brokers that close a connection after its response. At most `maxConnections` are open at
 * a time; further requests wait within their timeout, and are never sent if it ends first.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import type { Frames } from "../../protocol/Frame.ts"
import { type ConnectionError, RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import type { Room } from "../Transport.ts"
import { bytesOf } from "./outboundQueue.ts"

/** Sends requests one by one. */
export interface SingleRequests {
  readonly room: Room
  readonly request: (frames: Frames) => Effect.Effect<Frames, ConnectionError | RequestTimeoutError>
}

/** Makes it; `exchange` sends one request on a connection of its own. */
export const make = (options: {
  readonly maxConnections: number
  readonly maxRequests: number
  readonly maxBytes: number
  readonly timeout: Duration.Duration
  readonly exchange: (frames: Frames) => Effect.Effect<Frames, ConnectionError>
}): SingleRequests => {
  const { timeout: after } = options
  const connections = Semaphore.makeUnsafe(options.maxConnections)
  const room = Latch.makeUnsafe(true)
  let count = 0
  let bytes = 0
  const isFull = () => count >= options.maxRequests || bytes >= options.maxBytes
  const take = (requests: number, size: number) => {
    count += requests
    bytes += size
    if (isFull()) room.closeUnsafe()
    else room.openUnsafe()
  }

  return {
    room: {
      isFull,
      wait: (command) =>
        Effect.timeoutOrElse(room.await, {
          duration: after,
          orElse: () => Effect.fail(new RequestTimeoutError({ command, after, wasSent: "no" }))
        })
    },
    request: (frames) =>
      Effect.suspend(() => {
        const size = bytesOf(frames)
        let wasSent: "no" | "maybe" = "no"
        take(1, size)
        const exchange = Effect.suspend(() => {
          wasSent = "maybe"
          return options.exchange(frames)
        })
        return connections.withPermits(1)(exchange).pipe(
          Effect.timeoutOrElse({
            duration: after,
            orElse: () => Effect.fail(new RequestTimeoutError({ command: frames[0]!, after, wasSent }))
          }),
          Effect.ensuring(Effect.sync(() => take(-1, -size)))
        )
      })
  }
}
