/**
 * Puts what is sent at the same moment into batches.
 */

import * as Batch from "./batch.ts"
import type { Settled } from "./zmqSocket.ts"

/** What is to be sent, in order. */
export interface Outbox {
  /** Sends an item with those of the same moment; `settled` hears whether it was sent. */
  readonly sendUnsafe: (item: Batch.Item, settled: Settled | undefined) => void
  /** Sends what waits. */
  readonly flushUnsafe: () => void
}

/** How many items do not wait for more: while one side writes the next of them, the other already reads these. */
const enough = 32

/** Makes an outbox. It is flushed when `schedule` says so, once for all that was sent meanwhile. */
export const make = (options: {
  readonly maxMessageSize: number
  readonly send: (batch: string, settled: Settled) => void
  readonly schedule: (flush: () => void) => void
}): Outbox => {
  interface Waiting extends Batch.Item {
    readonly settled: Settled | undefined
  }
  let waiting: Array<Waiting> = []

  const flushUnsafe = () => {
    if (waiting.length === 0) return
    const items = waiting
    waiting = []
    for (const batch of Batch.split(items, options.maxMessageSize)) {
      options.send(Batch.encode(batch), (error) => {
        for (const { settled } of batch) settled?.(error)
      })
    }
  }
  return {
    sendUnsafe: ({ envelope, frames }, settled) => {
      const length = waiting.push({ envelope, frames, settled })
      if (length === 1) options.schedule(flushUnsafe)
      else if (length === enough) flushUnsafe()
    },
    flushUnsafe
  }
}
