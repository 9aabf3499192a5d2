/**
 * How many unacknowledged events a worker wants.
 *
 * New events arrive only when the broker has received acks, so a fast worker would idle in between. A worker that handles its
 * events in a short time wants twice as many, up to `most`. A slow one returns to `least`, because other workers may be free
 * earlier.
 */

/** How many events a worker wants. */
export interface Prefetch {
  readonly current: () => number
  /** The maximum. */
  readonly most: number
  /** `count` more events are acknowledged, at `now` in milliseconds. Returns whether the number has grown. */
  readonly acknowledgedUnsafe: (count: number, now: number) => boolean
  /** Call this at every heartbeat. Returns whether the number has shrunk. */
  readonly heartbeatUnsafe: () => boolean
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
  let handledSinceHeartbeat = 0
  return {
    current: () => current,
    most,
    acknowledgedUnsafe: (count, now) => {
      handledSinceHeartbeat += count
      // The time before the first of them does not count.
      if (handled === 0) since = now
      handled += count
      if (handled < times * current) return false
      handled = 0
      if (current >= most || now - since >= times * short) return false
      current = Math.min(2 * current, most)
      return true
    },
    heartbeatUnsafe: () => {
      const isSlow = handledSinceHeartbeat < current
      handledSinceHeartbeat = 0
      if (!isSlow || current === least) return false
      current = least
      handled = 0
      return true
    }
  }
}
