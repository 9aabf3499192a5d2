/**
 * Callers that wait until fewer requests are unsent. They are admitted in order as soon as there is room.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import type { PendingRequests } from "./pendingRequests.ts"

/** Room with waiting callers. */
export interface WaitingRoom {
  /**
   * Waits for room, for a request of this command. Fails with `RequestTimeoutError` if no room is made for the whole
   * `requestTimeout`.
   */
  readonly wait: (command: string) => Effect.Effect<void, RequestTimeoutError>
  /** Admits callers while there is room. */
  readonly admitUnsafe: () => void
  /** Removes all callers, and returns the functions that admit them. */
  readonly leaveUnsafe: () => ReadonlyArray<() => void>
}

/** Makes one. Callers wait among the pending requests, so that they time out like them. */
export const make = (options: {
  readonly pending: PendingRequests
  readonly isFull: () => boolean
  readonly timeout: Duration.Duration
}): WaitingRoom => {
  const { isFull, pending, timeout: after } = options
  const waiting = new Set<string>()
  return {
    wait: (command) =>
      Effect.callback((resume) => {
        const { envelope } = pending.addUnsafe("", command, undefined, {
          onResponse: () => resume(Effect.void),
          onFailure: () => {
            waiting.delete(envelope)
            resume(Effect.fail(new RequestTimeoutError({ command, after, wasSent: "no" })))
          }
        })
        waiting.add(envelope)
        return Effect.sync(() => {
          waiting.delete(envelope)
          pending.takeUnsafe(envelope)
        })
      }),
    // An admitted caller sends immediately, so `isFull` is current for the next one.
    admitUnsafe: () => {
      if (waiting.size === 0) return
      for (const envelope of [...waiting]) {
        if (isFull()) return
        waiting.delete(envelope)
        pending.respondUnsafe(envelope, [])
      }
    },
    leaveUnsafe: () => {
      const callers = [...waiting].flatMap((envelope) => pending.takeUnsafe(envelope)?.handler ?? [])
      waiting.clear()
      return callers.map(({ onResponse }) => () => onResponse([]))
    }
  }
}
