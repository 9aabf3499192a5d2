/**
 * The end of a turn of the event loop: what was sent in it is written then. Whether a message comes alone, and need not wait for that, is
 * counted over all browsers.
 *
 * Writing to thousands of browsers takes several turns, and others have theirs in between. Nobody has a turn before all is
 * written if a queue has more than one write takes: otherwise queues would grow faster than they are written.
 */

import * as Eager from "../../../../transport/Eager.ts"
import * as EventLoop from "../../../../transport/EventLoop.ts"

/** Something that is flushed. */
export interface Flushable {
  /** Whether it is flushed at the end of the turn. */
  isScheduled: boolean
}

/** A flusher. */
export interface Flusher<A> extends Eager.Eager {
  /** Schedules a flush at the end of the turn. Without an item only `onEnd` is called then. */
  readonly schedule: (item?: A) => void
  /** Ends this turn, and no other turn begins before all that is scheduled is flushed. */
  readonly press: () => void
}

/** Flushes at the end of a turn, and goes on in the next ones if there is much to do. `onEnd` is called after that. */
export const make = <A extends Flushable>(flush: (item: A) => void, onEnd: () => void): Flusher<A> => {
  const items: Array<A> = []
  let next = 0
  let isScheduled = false
  let isPressed = false
  const run = (): void => {
    while (next < items.length) {
      const item = items[next++]!
      item.isScheduled = false
      flush(item)
      if (!EventLoop.isOver()) continue
      EventLoop.enqueueFirst(run)
      if (isPressed) EventLoop.finish()
      return
    }
    items.length = next = 0
    isScheduled = isPressed = false
    onEnd()
  }
  const schedule = (item?: A): void => {
    if (item !== undefined) {
      item.isScheduled = true
      items.push(item)
    }
    if (isScheduled) return
    isScheduled = true
    EventLoop.enqueueFirst(run)
  }
  const press = (): void => {
    if (isPressed) return
    isPressed = true
    EventLoop.finish()
  }
  return { ...Eager.make(), schedule, press }
}
