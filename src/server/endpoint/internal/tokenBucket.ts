/**
 * Token buckets: what may happen so often a second, with bursts. A bucket is two numbers, and no fiber fills it.
 *
 * Time is in milliseconds of a monotonic clock.
 */

/** How fast a bucket is filled, in tokens a second, and how many it holds. A rate of `Infinity` limits nothing. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

/** A bucket: the tokens that it had at a time. */
export interface Bucket {
  tokens: number
  at: number
}

/** Makes a bucket, full. */
export const make = ({ burst }: Rate, now: number): Bucket => ({ tokens: burst, at: now })

/** How many tokens it has now. */
export const available = (bucket: Bucket, { burst, perSecond }: Rate, now: number): number => {
  if (perSecond === Infinity) return Infinity
  // A clock that went back fills nothing.
  bucket.tokens = Math.min(burst, bucket.tokens + Math.max(0, now - bucket.at) * perSecond / 1000)
  bucket.at = now
  return bucket.tokens
}

/** Takes tokens if it has as many, and tells whether it had. */
export const take = (bucket: Bucket, rate: Rate, now: number, tokens: number): boolean => {
  if (available(bucket, rate, now) < tokens) return false
  bucket.tokens -= tokens
  return true
}
