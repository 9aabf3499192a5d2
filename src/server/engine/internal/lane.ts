/**
 * Queued events in the order of their numbers. An event that is requeued returns to its old position, whatever was requeued
 * before it.
 */

import * as Heap from "./heap.ts"

/** Events in the order of their numbers. */
export interface Lane<A extends Numbered> {
  readonly length: number
  /** The event with the least number. */
  readonly first: () => A | undefined
  /** Adds an event whose number is greater than any before. */
  readonly append: (event: A) => void
  /** Takes the event with the least number. */
  readonly take: () => A | undefined
  /** Returns an event that was taken. */
  readonly requeue: (event: A) => void
  /** Removes an event wherever it is; `false` if it is not there. */
  readonly remove: (event: A) => boolean
}

interface Numbered {
  readonly number: number
}

/** How many empty slots may be at the front before the array is compacted. */
const slack = 1024

/** Makes an empty lane. */
export const make = <A extends Numbered>(): Lane<A> => {
  // New events come in order and need no heap.
  let appended: Array<A | undefined> = []
  let head = 0
  const requeued = Heap.make<A>((one, other) => one.number < other.number)
  // The heap entries of requeued events, to find them.
  const entries = new Map<A, Heap.Entry<A>>()

  const nextAppended = () => head < appended.length ? appended[head] : undefined
  const isRequeuedNext = (): boolean => {
    const old = requeued.peek()
    const fresh = nextAppended()
    return old !== undefined && (fresh === undefined || old.number < fresh.number)
  }
  const takeAppended = (): A | undefined => {
    const event = nextAppended()
    if (event === undefined) return undefined
    appended[head++] = undefined
    if (head >= slack && head * 2 >= appended.length) {
      appended = appended.slice(head)
      head = 0
    }
    return event
  }

  return {
    get length() {
      return appended.length - head + requeued.size
    },
    first: () => requeued.size > 0 && isRequeuedNext() ? requeued.peek() : nextAppended(),
    append: (event) => void appended.push(event),
    take: () => {
      if (requeued.size === 0 || !isRequeuedNext()) return takeAppended()
      const event = requeued.take()!
      entries.delete(event)
      return event
    },
    requeue: (event) => {
      const entry = Heap.entryOf(event)
      entries.set(event, entry)
      requeued.put(entry)
    },
    remove: (event) => {
      const entry = entries.get(event)
      if (entry !== undefined) {
        requeued.remove(entry)
        return entries.delete(event)
      }
      const index = appended.indexOf(event, head)
      if (index < 0) return false
      appended.splice(index, 1)
      return true
    }
  }
}
