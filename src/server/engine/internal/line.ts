/**
 * Events that wait, in the order of their numbers. One that was taken and could not be handed over goes back to its old
 * place. What becomes of each is noted in the vhost's journal.
 */

import * as MutableList from "effect/MutableList"
import { byteLength } from "../../../protocol/Frame.ts"
import type { Journal } from "../Journal.ts"

/** An event that waits for a worker. */
export interface Waiting {
  /** Its place in the order of all events of the vhost. */
  readonly number: number
  /** Its name in the vhost, the same for ever. */
  readonly id: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin: string | undefined
  /** How many bytes both have. */
  readonly size: number
  /** How often it was handed to a worker that acknowledges. */
  attempts: number
  /** How often its handler failed. */
  failures: number
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
  /** One more, as the last. */
  readonly append: (event: Waiting) => void
  /** Takes the first. */
  readonly take: () => Waiting | undefined
  readonly putBack: (event: Waiting) => void
  /** The handler of one that was taken has failed. */
  readonly fail: (event: Waiting) => void
  /** One that was taken is handed out, or (`-1`) was not after all. */
  readonly attempt: (event: Waiting, by: 1 | -1) => void
  /** One that was taken will not come back. */
  readonly finish: (event: Waiting) => void
}

/** How many bytes an event has. */
export const sizeOf = (json: string, origin: string | undefined): number =>
  byteLength(json) + (origin === undefined ? 0 : byteLength(origin))

/** Makes a line, with those in it that the journal knows already. */
export const make = (journal: Journal, known: ReadonlyArray<Waiting> = []): Line => {
  const events = MutableList.make<Waiting>()
  let size = 0
  const take = () => {
    const event = MutableList.take(events)
    if (event === MutableList.Empty) return undefined
    size -= event.size
    return event
  }
  const append = (event: Waiting) => {
    MutableList.append(events, event)
    size += event.size
  }
  known.forEach(append)
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
      append(event)
      journal.noteNew(noted(event))
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
    },
    attempt: (event, by) => {
      event.attempts += by
      journal.noteChanged(noted(event))
    },
    fail: (event) => {
      event.failures++
      journal.noteChanged(noted(event))
    },
    finish: ({ id }) => journal.forget("Event", id)
  }
}

const noted = ({ attempts, failures, id, json, origin }: Waiting) =>
  ({ _tag: "Event", id, json, origin: origin ?? null, attempts, failures }) as const
