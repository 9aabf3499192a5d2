/**
 * The end of a turn of the event loop: what was sent in it is written then.
 */

/** Something that is flushed. */
export interface Flushable {
  /** Whether it is flushed at the end of the turn. */
  isScheduled: boolean
}

/** Flushes what it is told of. */
export interface Flusher<A> {
  /** Has something flushed at the end of the turn; without it, `onEnd` is called then all the same. */
  readonly schedule: (item?: A) => void
}

/** How long a flush goes on in one turn, in milliseconds. */
const slice = 8

/** Flushes at the end of a turn, and goes on in the next ones if there is much to do. `onEnd` is called after that. */
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
