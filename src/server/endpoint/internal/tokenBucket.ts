/**
 * Token buckets limit a rate, with bursts. A bucket is two numbers; it is filled when it is read.
 *
 * Time is in milliseconds of a monotonic clock.
 */

/** How fast a bucket is filled, in tokens per second, and its capacity. A rate of `Infinity` limits nothing. */
export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

/** A bucket: the tokens that it had at the time `at`. */
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

/** Takes tokens if it has enough, and returns whether it had. */
export const take = (bucket: Bucket, rate: Rate, now: number, tokens: number): boolean => {
  if (available(bucket, rate, now) < tokens) return false
  bucket.tokens -= tokens
  return true
}
