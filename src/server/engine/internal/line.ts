/**
 * Events that wait, in the order of their numbers. One that was taken and could not be handed over goes back to its old
 * place.
 */

import * as MutableList from "effect/MutableList"

/** An event that waits for a worker. */
export interface Waiting {
  /** Its place in the order of all events of the vhost. */
  readonly number: number
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin: string | undefined
  /** How many bytes both have. */
  readonly size: number
  /** How often it was handed to a worker that acknowledges. */
  attempts: number
}

/** A line of events. */
export interface Line {
  /** How many wait. */
  readonly length: number
  /** How many bytes they have together. */
  readonly size: number
  /** The number of the first, `Infinity` where none waits. */
  readonly first: number
  /** What was taken and may come back. */
  readonly lent: { count: number; size: number }
  readonly append: (event: Waiting) => void
  /** Takes the first. */
  readonly take: () => Waiting | undefined
  readonly putBack: (event: Waiting) => void
}

/** Makes a line, empty. */
export const make = (): Line => {
  const events = MutableList.make<Waiting>()
  let size = 0
  const take = () => {
    const event = MutableList.take(events)
    if (event === MutableList.Empty) return undefined
    size -= event.size
    return event
  }
  return {
    get length() {
      return events.length
    },
    get size() {
      return size
    },
    get first() {
      return MutableList.toArrayN(events, 1)[0]?.number ?? Infinity
    },
    lent: { count: 0, size: 0 },
    append: (event) => {
      MutableList.append(events, event)
      size += event.size
    },
    take,
    // Behind those that failed before it and came before it.
    putBack: (event) => {
      const earlier: Array<Waiting> = []
      for (let head = take(); head !== undefined; head = take()) {
        if (head.number > event.number) {
          MutableList.prepend(events, head)
          size += head.size
          break
        }
        earlier.push(head)
      }
      MutableList.prependAllUnsafe(events, [...earlier, event])
      for (const one of [...earlier, event]) size += one.size
    }
  }
}
