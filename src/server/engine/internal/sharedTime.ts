/**
 * What the clock of a shared queue says, as this node knows it by its turns: the clocks of nodes differ.
 *
 * A turn reads that clock once, between its beginning and its result. So this is wrong by at most half of what the fastest turn of the last
 * seconds took, half a millisecond, and what the clocks drift apart in that time.
 */

/** The clock of a shared queue. */
export interface SharedTime {
  /** A turn began and had a result at these times of this node, in monotonic milliseconds; in between the clock said this. */
  readonly observe: (began: number, ended: number, time: number) => void
  /** What the clock says at a time of this node, in milliseconds since 1970; `undefined` before the first turn. */
  readonly at: (now: number) => number | undefined
}

/** For how many milliseconds slower turns say nothing new. */
const maxAge = 10_000

/** Makes one that knows nothing. */
export const make = (): SharedTime => {
  let best: { readonly ahead: number; readonly took: number; readonly until: number } | undefined
  return {
    observe: (began, ended, time) => {
      const took = ended - began
      if (best !== undefined && took > best.took && ended < best.until) return
      // The clock has said no fractions.
      best = { ahead: time + 0.5 - began - took / 2, took, until: ended + maxAge }
    },
    at: (now) => best && best.ahead + now
  }
}
