/**
 * A token bucket: so much a second, with bursts of five seconds' worth. It has no timer.
 */

/** What has been taken and has not yet been given back by time, and when that was counted, in monotonic milliseconds. */
export interface Bucket {
  taken: number
  at: number
}

/** How many seconds' worth may be taken at once. */
const burst = 5

/** A full bucket. */
export const make = (): Bucket => ({ taken: 0, at: 0 })

/** Takes `amount` if the bucket has as much; `false` says that it has not, and then nothing was taken. */
export const take = (bucket: Bucket, rate: number, amount: number): boolean => {
  if (rate === Infinity) return true
  // Whole milliseconds take less memory.
  const now = Math.floor(performance.now())
  const taken = Math.max(0, Math.ceil(bucket.taken - (now - bucket.at) * rate / 1000)) + amount
  if (taken > burst * rate) return false
  bucket.taken = taken
  bucket.at = now
  return true
}
