/**
 * Sends queued requests on a connection, one batch at a time.
 *
 * Requests of the same turn are sent together, if the broker reads batches. The next batch is made when the one before has been
 * accepted: unsent requests stay in the queue, where they can be cancelled. While requests come one by one each is sent at once, and
 * the broker begins before the turn ends.
 *
 * The broker responds to a batch with a batch, so small batches would go round and round. Those whose responses have arrived in the
 * same turn of the event loop become one.
 */

import * as Arr from "effect/Array"
import { constFalse } from "effect/Function"
import * as Result from "effect/Result"
import type { ConnectionError } from "../../protocol/KosmonautError.ts"
import type { Connection } from "../../transport/Transport.ts"
import type { Queued, RequestQueue, Unsent } from "./requestQueue.ts"

/** The sending side of a connection. */
export type Outlet = Pick<Connection, "batches" | "enough" | "sendUnsafe">

/** Sends what is queued. */
export interface Sender<A extends Queued> {
  /** Queues a request, which is sent with those of the same turn. */
  readonly sendUnsafe: (request: A) => void
  /** Sets the connection, or none. */
  readonly attachUnsafe: (outlet: Outlet | undefined) => void
}

/** How many requests are a batch at most, and how many bytes. A request that is larger is a batch of its own. */
const maxItems = 1024
const maxBatchSize = 131_072

/** Makes one. `onFailed` is called with each request that could not be sent, `onSent` after some were. */
export const make = <A extends Queued>(options: {
  readonly queue: RequestQueue<A>
  readonly maxMessageSize: number
  readonly onFailed: (request: A, error: unknown) => void
  readonly onSent: () => void
  /** How many may be a batch now, default any number. */
  readonly mostAtOnce?: (() => number) | undefined
  /** Whether so few are in flight that batches are to become one, default `false`. */
  readonly areFew?: (() => boolean) | undefined
}): Sender<A> => {
  const { areFew = constFalse, mostAtOnce = () => maxItems, onFailed, onSent, queue } = options
  const batchSize = Math.min(maxBatchSize, options.maxMessageSize)
  let current: Outlet | undefined
  let limit = maxItems
  let isSending = false
  let isScheduled = false
  // How many came since the last scheduled flush, and whether it was one before that.
  let count = 0
  let wasAlone = false

  const schedule = () => {
    isScheduled = true
    if (areFew()) setImmediate(flushScheduled)
    else queueMicrotask(flushScheduled)
  }
  const flushScheduled = () => {
    isScheduled = false
    wasAlone = count === 1
    count = 0
    flush()
  }
  const flush = () => {
    if (current === undefined || isSending) return
    const outlet = current
    const batch = queue.dequeue(outlet.batches() ? Math.min(limit, mostAtOnce()) : 1, batchSize)
    if (!Arr.isReadonlyArrayNonEmpty(batch)) return
    isSending = true
    // The broker is busy now, so the next batch may be twice as large, and so on while requests keep coming.
    limit = Math.min(2 * limit, maxItems)
    send(outlet, batch)
  }
  const send = (outlet: Outlet, batch: Arr.NonEmptyReadonlyArray<A & Unsent>) =>
    sendOn(outlet, batch, (error) => {
      if (error !== undefined) { for (const request of batch) onFailed(request, error) }
      if (current !== outlet) return
      isSending = false
      if (queue.size() === 0) limit = Math.min(outlet.enough, maxItems)
      else if (!isScheduled) schedule()
      onSent()
    })

  return {
    sendUnsafe: (request) => {
      queue.enqueue(request)
      const isAlone = ++count === 1 && wasAlone
      if (isAlone || queue.size() >= limit) flush()
      if (!isScheduled) schedule()
    },
    attachUnsafe: (outlet) => {
      current = outlet
      limit = Math.min(outlet?.enough ?? maxItems, maxItems)
      isSending = false
    }
  }
}

// `settle` is called when the requests were encoded and the transport has accepted them, or has failed.
const sendOn = (
  outlet: Outlet,
  batch: Arr.NonEmptyReadonlyArray<Queued & Unsent>,
  settle: (error: unknown) => void
): void => {
  let isEncoded = false
  let outcome: { readonly error: unknown } | undefined
  const settled = (error?: ConnectionError) => {
    if (isEncoded) settle(error)
    else outcome = { error }
  }
  const sent = Result.try(() => outlet.sendUnsafe(batch, settled))
  isEncoded = true
  for (const request of batch as ReadonlyArray<Queued>) request.frames = undefined
  if (Result.isFailure(sent)) settle(sent.failure)
  else if (outcome !== undefined) settle(outcome.error)
}
