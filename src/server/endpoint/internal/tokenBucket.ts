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

/** How many tokens there are after some time, for those who keep buckets in another form. A clock that went back fills nothing. */
export const filled = (tokens: number, { burst, perSecond }: Rate, elapsed: number): number =>
  perSecond === Infinity ? Infinity : Math.min(burst, tokens + Math.max(0, elapsed) * perSecond / 1000)

/** How many tokens it has now. */
export const available = (bucket: Bucket, rate: Rate, now: number): number => {
  bucket.tokens = filled(bucket.tokens, rate, now - bucket.at)
  bucket.at = now
  return bucket.tokens
}

/** Takes tokens if it has enough, and returns whether it had. */
export const take = (bucket: Bucket, rate: Rate, now: number, tokens: number): boolean => {
  if (available(bucket, rate, now) < tokens) return false
  bucket.tokens -= tokens
  return true
}
