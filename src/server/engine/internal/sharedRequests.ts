/**
 * The requests that have come from this node, until each has its one result: a response from whichever node has handled it, that it
 * was cancelled, or its deadline.
 */

import { TransientMap } from "../../../protocol/TransientMap.ts"
import { RequestResult } from "../EventQueue.ts"
import * as Heap from "./heap.ts"

/** The requests of a node without a result. */
export interface SharedRequests {
  readonly size: () => number
  /** Adds one, and returns its id at this node. */
  readonly add: (replyTo: unknown, deadline: number, dedupeKey: string | undefined) => string
  /** Removes one without a result, since it was not enqueued. */
  readonly remove: (id: string) => void
  /** The one with this key was cancelled. */
  readonly cancel: (dedupeKey: string) => void
  /** Passes a result on; ignored for one that has its result already. */
  readonly respond: (id: string, result: RequestResult) => void
  /** Ends those whose deadline has passed, at most 256, and returns whether there were any. */
  readonly expire: (now: number) => boolean
  /** Ends all as failed. */
  readonly endAll: (reason: string) => void
  /** The earliest deadline. */
  readonly nextDue: () => number
}

interface Request {
  readonly id: string
  readonly replyTo: unknown
  readonly deadline: number
  readonly dedupeKey: string | undefined
}

/** How many requests expire in one step; the others are due in the next. */
const maxExpiring = 256

const expired = RequestResult.Expired()
const cancelled = RequestResult.Cancelled()

/** Makes it without requests. */
export const make = (respond: (replyTo: unknown, result: RequestResult) => void): SharedRequests => {
  const deadlines = Heap.make<Request>((one, other) => one.deadline < other.deadline)
  const entries = new TransientMap<string, Heap.Entry<Request>>()
  const ids = new TransientMap<string, string>()
  let count = 0

  const take = (id: string): Request | undefined => {
    const entry = entries.get(id)
    if (entry === undefined) return undefined
    const { dedupeKey } = entry.item
    entries.delete(id)
    if (dedupeKey !== undefined && ids.get(dedupeKey) === id) ids.delete(dedupeKey)
    deadlines.remove(entry)
    return entry.item
  }
  const end = (id: string, result: RequestResult) => {
    const request = take(id)
    if (request !== undefined) respond(request.replyTo, result)
  }
  return {
    size: () => entries.size,
    add: (replyTo, deadline, dedupeKey) => {
      const id = (count++).toString(36)
      const entry = Heap.entryOf({ id, replyTo, deadline, dedupeKey })
      if (dedupeKey !== undefined) ids.set(dedupeKey, id)
      entries.set(id, entry)
      deadlines.put(entry)
      return id
    },
    remove: (id) => void take(id),
    cancel: (dedupeKey) => {
      const id = ids.get(dedupeKey)
      if (id !== undefined) end(id, cancelled)
    },
    respond: end,
    expire: (now) => {
      let left = maxExpiring
      for (let next = deadlines.peek(); next !== undefined && next.deadline <= now; next = deadlines.peek()) {
        if (left-- === 0) break
        end(next.id, expired)
      }
      return left < maxExpiring
    },
    endAll: (reason) => {
      for (const id of [...entries.keys()]) end(id, RequestResult.Failed({ reason }))
    },
    nextDue: () => deadlines.peek()?.deadline ?? Infinity
  }
}
