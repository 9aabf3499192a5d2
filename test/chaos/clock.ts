/**
 * What comes before what, in this process.
 */
let now = 0

/** A time that is later than all before. */
export const tick = (): number => ++now
