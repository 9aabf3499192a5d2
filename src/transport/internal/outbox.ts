/**
 * Puts what is sent at the same moment into batches.
 */

import type { Frames } from "../../protocol/Frame.ts"
import * as Batch from "./batch.ts"
import type { ZmqError } from "./zmqError.ts"

/** Hears whether what has this envelope was sent: `undefined` says so. */
type Settled = (error: ZmqError | undefined, envelope: string) => void

/** What is to be sent, in order. */
export interface Outbox {
  /** Sends an item with those of the same moment; `settled` hears whether it was sent. */
  readonly sendUnsafe: (envelope: string, frames: Frames, settled: Settled | undefined) => void
  /** Sends what waits. */
  readonly flushUnsafe: () => void
}

/**
 * How many items do not wait for more: while one side writes the next of them, the other already reads these. After them it
 * has something to do, so twice as many are enough, and so on as long as the moment lasts.
 */
const enough = 32

/** Makes an outbox. It is flushed when `schedule` says so, once for all that was sent meanwhile. */
export const make = (options: {
  readonly maxMessageSize: number
  readonly send: (batch: string, settled: (error: ZmqError | undefined) => void) => void
  readonly schedule: (flush: () => void) => void
}): Outbox => {
  interface Waiting extends Batch.Item {
    readonly settled: Settled | undefined
  }
  let waiting: Array<Waiting> = []
  let limit = enough

  const flushUnsafe = () => {
    limit = enough
    if (waiting.length === 0) return
    const items = waiting
    waiting = []
    for (const batch of Batch.split(items, options.maxMessageSize)) {
      options.send(Batch.encode(batch), (error) => {
        for (const { envelope, settled } of batch) settled?.(error, envelope)
      })
    }
  }
  return {
    sendUnsafe: (envelope, frames, settled) => {
      const length = waiting.push({ envelope, frames, settled })
      if (length === 1) options.schedule(flushUnsafe)
      else if (length === limit) {
        const next = limit * 2
        flushUnsafe()
        limit = next
      }
    },
    flushUnsafe
  }
}
