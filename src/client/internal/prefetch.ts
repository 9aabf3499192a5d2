/**
 * How many events a worker wants to have that it has not acknowledged.
 *
 * The next come only when the broker has heard of those before, so a worker that is faster than that waits in between. One
 * that handles many in a short time wants twice as many, up to `most`. One that would take long for what it wants goes back
 * to `least`: the others may be free earlier.
 */

/** How many a worker wants now. */
export interface Prefetch {
  readonly current: () => number
  /** How many it ever wants. */
  readonly most: number
  /** So many more are acknowledged, by this time in milliseconds. Whether it now wants more than before. */
  readonly acknowledgedUnsafe: (count: number, now: number) => boolean
  /** Some time has passed, half a second or so. Whether it now wants less than before. */
  readonly beatUnsafe: () => boolean
}

/** In which time what is wanted must have been handled so that more is wanted, in milliseconds. */
const short = 50

/** How many times what is wanted is handled before that time is looked at. */
const times = 4

/** Makes one. It wants `least` at first. */
export const make = (least: number, most: number): Prefetch => {
  let current = least
  let handled = 0
  let since = 0
  let handledSinceBeat = 0
  return {
    current: () => current,
    most,
    acknowledgedUnsafe: (count, now) => {
      handledSinceBeat += count
      // What was before the first of them is no time of theirs.
      if (handled === 0) since = now
      handled += count
      if (handled < times * current) return false
      handled = 0
      if (current >= most || now - since >= times * short) return false
      current = Math.min(2 * current, most)
      return true
    },
    beatUnsafe: () => {
      const isSlow = handledSinceBeat < current
      handledSinceBeat = 0
      if (!isSlow || current === least) return false
      current = least
      handled = 0
      return true
    }
  }
}
