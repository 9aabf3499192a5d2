/**
 * The unsent requests of a connection, in order. A cancelled request is removed and never sent.
 *
 * The queue counts its requests and their bytes of memory. It accepts requests beyond its limits; callers check `isFull`.
 */

import type { Frames } from "../../protocol/Frame.ts"

/** A request that can be queued. Its frames are `undefined` once it is sent or removed. */
export interface Queued {
  readonly envelope: string
  frames: Frames | undefined
}

/** A request with its frames. */
export interface Unsent {
  readonly envelope: string
  readonly frames: Frames
}

/** Unsent requests. */
export interface RequestQueue<A extends Queued> {
  readonly size: () => number
  readonly isFull: () => boolean
  readonly enqueue: (request: A) => void
  /** Removes one that is queued. */
  readonly remove: (request: A) => void
  /** Dequeues the first ones: at most `count`, and no more than `maxMessageSize` bytes on the wire, but at least one. */
  readonly dequeue: (count: number, maxMessageSize: number) => ReadonlyArray<A & Unsent>
  /** Removes all. */
  readonly clear: () => void
}

/** Makes a queue, empty. */
export const make = <A extends Queued>(limits: {
  readonly maxRequests: number
  readonly maxBytes: number
}): RequestQueue<A> => {
  // Requests before `first` were dequeued. Removed ones have no frames, and stay until they are reached or compacted.
  let queue: Array<A> = []
  let first = 0
  let count = 0
  let bytes = 0

  const leave = (request: Unsent) => {
    count--
    bytes -= bytesOf(request.frames)
  }
  const compact = () => {
    queue = queue.slice(first).filter(isUnsent)
    first = 0
  }
  return {
    size: () => count,
    isFull: () => count >= limits.maxRequests || bytes >= limits.maxBytes,
    enqueue: (request) => {
      if (!isUnsent(request)) return
      queue.push(request)
      count++
      bytes += bytesOf(request.frames)
    },
    remove: (request) => {
      if (!isUnsent(request)) return
      leave(request)
      clearFrames(request)
      if (queue.length - first > 2 * count + 64) compact()
    },
    dequeue: (most, maxMessageSize) => {
      const taken: Array<A & Unsent> = []
      let size = 0
      while (first < queue.length && taken.length < most) {
        const next = queue[first]!
        if (isUnsent(next)) {
          size += largestSize(next)
          if (taken.length > 0 && size > maxMessageSize) break
          taken.push(next)
          leave(next)
        }
        first++
      }
      if (count === 0) {
        queue = []
        first = 0
      } else if (first > 1024 && first > queue.length / 2) compact()
      return taken
    },
    clear: () => {
      queue.forEach(clearFrames)
      queue = []
      first = count = bytes = 0
    }
  }
}

const clearFrames = (request: Queued) => {
  request.frames = undefined
}

const isUnsent = <A extends Queued>(request: A): request is A & Unsent => request.frames !== undefined

/** How much memory a request takes at most: two bytes a character, and some hundreds for what else belongs to it. */
export const bytesOf = (frames: Frames): number => {
  let units = 0
  for (const frame of frames) units += frame.length
  return 2 * units + 256
}

// A character has at most three bytes on the wire, and a length has a few digits.
const largestSize = ({ envelope, frames }: Unsent): number => {
  let units = envelope.length + 8
  for (const frame of frames) units += frame.length + 8
  return 3 * units
}
