/**
 * Queued events in the order of their numbers. An event that is requeued returns to its old position, whatever was requeued
 * before it.
 */

import * as Heap from "./heap.ts"

/** Events in the order of their numbers. */
export interface OrderedQueue<A extends Numbered> {
  readonly length: number
  /** The event with the least number. */
  readonly first: () => A | undefined
  /** Adds an event whose number is greater than any before. */
  readonly append: (event: A) => void
  /** Takes the event with the least number. */
  readonly take: () => A | undefined
  /** Returns an event that was taken. */
  readonly requeue: (event: A) => void
  /** Removes an event wherever it is, in logarithmic time; `false` if it is not there. */
  readonly remove: (event: A) => boolean
}

interface Numbered {
  readonly number: number
}

/** How many slots may be empty, at the front or between events, before the arrays are compacted. */
const slack = 1024

/** Makes an empty queue. */
export const make = <A extends Numbered>(): OrderedQueue<A> => {
  // New events come in order and need no heap.
  const appended = makeAppended<A>()
  const requeued = Heap.make<A>((one, other) => one.number < other.number)
  // The heap entries of requeued events, to find them.
  const entries = new Map<A, Heap.Entry<A>>()

  const isRequeuedNext = (): boolean => {
    const old = requeued.peek()
    const fresh = appended.first()
    return old !== undefined && (fresh === undefined || old.number < fresh.number)
  }
  return {
    get length() {
      return appended.length() + requeued.size
    },
    first: () => requeued.size > 0 && isRequeuedNext() ? requeued.peek() : appended.first(),
    append: appended.append,
    take: () => {
      if (requeued.size === 0 || !isRequeuedNext()) return appended.take()
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
      if (entry === undefined) return appended.remove(event)
      requeued.remove(entry)
      return entries.delete(event)
    }
  }
}

// Events in the order in which they came. A removed one leaves an empty slot, and its number.
const makeAppended = <A extends Numbered>() => {
  let events: Array<A | undefined> = []
  let numbers: Array<number> = []
  let head = 0
  let holes = 0

  const first = () => head < events.length ? events[head] : undefined
  // The slot at the head is never empty.
  const advance = () => {
    events[head++] = undefined
    while (holes > 0 && head < events.length && events[head] === undefined) {
      head++
      holes--
    }
    if (head < slack || head * 2 < events.length) return
    events = events.slice(head)
    numbers = numbers.slice(head)
    head = 0
  }
  const compact = () => {
    events = events.slice(head).filter((some) => some !== undefined)
    numbers = events.map((some) => some!.number)
    head = 0
    holes = 0
  }
  return {
    length: () => events.length - head - holes,
    first,
    append: (event: A) => {
      events.push(event)
      numbers.push(event.number)
    },
    take: (): A | undefined => {
      const event = first()
      if (event !== undefined) advance()
      return event
    },
    remove: (event: A): boolean => {
      const slot = slotOf(numbers, head, event.number)
      if (events[slot] !== event) return false
      if (slot === head) {
        advance()
        return true
      }
      events[slot] = undefined
      if (++holes >= slack && holes * 2 >= events.length - head) compact()
      return true
    }
  }
}

// Where this number is among ascending ones.
const slotOf = (numbers: ReadonlyArray<number>, from: number, number: number): number => {
  let low = from
  let high = numbers.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (numbers[middle]! < number) low = middle + 1
    else high = middle
  }
  return low
}
