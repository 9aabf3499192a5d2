/**
 * Flushes outbound queues at the end of a turn of the event loop.
 */

/** Something that can be flushed. */
export interface Flushable {
  /** Whether it is flushed at the end of the turn. */
  isScheduled: boolean
}

/** A flusher. */
export interface Flusher<A> {
  /** Schedules a flush at the end of the turn. Without an item only `onEnd` is called then. */
  readonly schedule: (item?: A) => void
}

/** How long a flush may take in one turn, in milliseconds. */
const slice = 8

/** Makes a flusher, which continues in later turns if there is much to do. `onEnd` is called when everything is flushed. */
export const make = <A extends Flushable>(flush: (item: A) => void, onEnd: () => void): Flusher<A> => {
  const items: Array<A> = []
  let next = 0
  let isScheduled = false
  const run = (): void => {
    const end = performance.now() + slice
    while (next < items.length) {
      const item = items[next++]!
      item.isScheduled = false
      flush(item)
      if (next % 8 === 0 && performance.now() > end) return void setImmediate(run)
    }
    items.length = next = 0
    isScheduled = false
    onEnd()
  }
  const schedule = (item?: A): void => {
    if (item !== undefined) {
      item.isScheduled = true
      items.push(item)
    }
    if (isScheduled) return
    isScheduled = true
    setImmediate(run)
  }
  return { schedule }
}
