/**
 * Sends queued requests on a connection, one batch at a time.
 *
 * Requests that are made in the same moment leave together, where the broker reads batches. The next batch is made when
 * the one before has been handed on: what cannot leave yet stays in the queue, from which it can be removed.
 */

import * as Result from "effect/Result"
import type { Item } from "./batch.ts"
import type { OutboundQueue, Outgoing, Unsent } from "./outboundQueue.ts"

/** The sending side of a connection. */
export interface Outlet {
  /** Whether many items can be sent as one. */
  readonly readsBatches: () => boolean
  /**
   * How many items do not wait for more of the same moment. If reading them takes the other side long, it can begin while
   * this side writes the next ones.
   */
  readonly enough: number
  /** Sends items, which are encoded before this returns; `settled` is called when they are handed on, or cannot be. */
  readonly sendUnsafe: (items: ReadonlyArray<Item>, settled: (error?: unknown) => void) => void
}

/** Sends what is queued. */
export interface Sender<A extends Outgoing> {
  /** Queues a request; it leaves with those of the same moment. */
  readonly sendUnsafe: (request: A) => void
  /** From now on there is this connection, or none. */
  readonly attachUnsafe: (outlet: Outlet | undefined) => void
}

/** How many items are a batch at most, and how many bytes. A message that is larger is one of its own. */
export const maxItems = 1024
const maxBatchSize = 131_072

/** Makes one. `onFailed` is called with each request that could not be sent, `onSent` after some were. */
export const make = <A extends Outgoing>(options: {
  readonly queue: OutboundQueue<A>
  readonly maxMessageSize: number
  readonly onFailed: (request: A, cause: unknown) => void
  readonly onSent: () => void
}): Sender<A> => {
  const { onFailed, onSent, queue } = options
  const batchSize = Math.min(maxBatchSize, options.maxMessageSize)
  let current: Outlet | undefined
  let limit = maxItems
  let sending = false
  let scheduled = false

  const schedule = () => {
    scheduled = true
    queueMicrotask(() => {
      scheduled = false
      flush()
    })
  }
  const flush = () => {
    if (current === undefined || sending) return
    const outlet = current
    const batch = queue.dequeue(outlet.readsBatches() ? limit : 1, batchSize)
    if (batch.length === 0) return
    sending = true
    // The other side has something to do now, so twice as many are enough, and so on as long as the moment lasts.
    limit = Math.min(2 * limit, maxItems)
    send(outlet, batch)
  }
  const send = (outlet: Outlet, batch: ReadonlyArray<A & Unsent>) => {
    const settled = (error?: unknown) => {
      if (error !== undefined) { for (const request of batch) onFailed(request, error) }
      if (current !== outlet) return
      sending = false
      if (queue.size() === 0) limit = outlet.enough
      else if (!scheduled) schedule()
      onSent()
    }
    const outcome = Result.try(() => outlet.sendUnsafe(batch, settled))
    for (const request of batch as ReadonlyArray<Outgoing>) request.frames = undefined
    if (Result.isFailure(outcome)) settled(outcome.failure)
  }

  return {
    sendUnsafe: (request) => {
      queue.enqueue(request)
      if (sending) return
      if (!scheduled) schedule()
      else if (queue.size() >= limit) flush()
    },
    attachUnsafe: (outlet) => {
      current = outlet
      limit = outlet?.enough ?? maxItems
      sending = false
    }
  }
}
