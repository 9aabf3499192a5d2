/**
 * Callers that wait for room among unsent requests. They are let in, in order, as soon as there is some.
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import type { Room } from "../Transport.ts"
import type { PendingRequests } from "./pendingRequests.ts"

/** Room, and the callers that wait for it. */
export interface WaitingRoom extends Room {
  /** Lets in those for whom there is room now. */
  readonly admitUnsafe: () => void
  /** Takes all out, and gives what lets each of them in. */
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
    isFull,
    wait: (command) =>
      Effect.callback((resume) => {
        const { envelope } = pending.addUnsafe(command, undefined, {
          onResponse: () => resume(Effect.void),
          onFailure: () => {
            waiting.delete(envelope)
            resume(Effect.fail(new RequestTimeoutError({ command, after, isUnsent: true })))
          }
        })
        waiting.add(envelope)
        return Effect.sync(() => {
          waiting.delete(envelope)
          pending.takeUnsafe(envelope)
        })
      }),
    // Each takes its room at once, or waits again.
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
