/**
 * Sends queued requests on a connection, one batch at a time.
 *
 * Requests of the same moment are sent together, if the broker reads batches. The next batch is made when the one before has been
 * accepted: unsent requests stay in the queue, where they can be cancelled.
 */

import * as Result from "effect/Result"
import type { Item } from "./batch.ts"
import type { OutboundQueue, Outgoing, Unsent } from "./outboundQueue.ts"

/** The sending side of a connection. */
export interface Outlet {
  /** Whether many items can be sent as one. */
  readonly readsBatches: () => boolean
  /**
   * How many items are sent without waiting for more of the same moment, so that the broker begins with them meanwhile.
   */
  readonly enough: number
  /** Sends items, which are encoded before this returns; `settled` is called when they are accepted or have failed. */
  readonly sendUnsafe: (items: ReadonlyArray<Item>, settled: (error?: unknown) => void) => void
}

/** Sends what is queued. */
export interface Sender<A extends Outgoing> {
  /** Queues a request, which is sent with those of the same moment. */
  readonly sendUnsafe: (request: A) => void
  /** Sets the connection, or none. */
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
    // The broker is busy now, so the next batch may be twice as large, and so on while requests keep coming.
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
