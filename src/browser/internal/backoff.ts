/**
 * How long to wait before something is tried again: exponential, with full jitter, so that browsers that have lost their
 * broker together do not come back together.
 */

/** The limits of the backoff, in milliseconds. */
export interface Limits {
  readonly minBackoff: number
  readonly maxBackoff: number
}

/** The wait before attempt number `attempt`, which counts from 0: a random part of a limit that doubles with each attempt. */
export const delay = ({ maxBackoff, minBackoff }: Limits, attempt: number, random: number): number =>
  random * Math.min(maxBackoff, minBackoff * 2 ** attempt)
