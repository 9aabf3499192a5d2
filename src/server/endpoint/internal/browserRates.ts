/**
 * How much one browser may send: messages, bytes, and wrong single access tokens. Beyond it a message is refused, and a
 * browser that sends as many refused messages as a burst has is to be disconnected.
 */

import type * as BrokerConfig from "../../BrokerConfig.ts"
import * as TokenBucket from "./tokenBucket.ts"

/** How much browsers may send. */
export interface Rates {
  readonly messages: TokenBucket.Rate
  readonly bytes: TokenBucket.Rate
  /** How many messages may be refused. */
  readonly refusals: TokenBucket.Rate
}

/** What one browser has left. */
export interface Allowance {
  readonly messages: TokenBucket.Bucket
  readonly bytes: TokenBucket.Bucket
  readonly refusals: TokenBucket.Bucket
}

/** How many single access tokens may be wrong: these are 512 random bits, so nobody guesses by mistake. */
export const guesses: TokenBucket.Rate = { perSecond: 1, burst: 10 }

/** Bursts are five seconds' worth, and at least one message, of the largest size. `undefined` says that nothing is limited. */
export const make = (
  { browserByteRate, browserMessageRate, maxMessageSize }: BrokerConfig.Resolved
): Rates | undefined => {
  if (browserMessageRate === Infinity && browserByteRate === Infinity) return undefined
  const messages = { perSecond: browserMessageRate, burst: Math.max(1, 5 * browserMessageRate) }
  return {
    messages,
    bytes: { perSecond: browserByteRate, burst: Math.max(maxMessageSize, 5 * browserByteRate) },
    refusals: browserMessageRate === Infinity ? { perSecond: 200, burst: 1000 } : messages
  }
}

/** What a browser has that has sent nothing yet. */
export const allowance = (rates: Rates, now: number): Allowance => ({
  messages: TokenBucket.make(rates.messages, now),
  bytes: TokenBucket.make(rates.bytes, now),
  refusals: TokenBucket.make(rates.refusals, now)
})

/** Counts a message of so many bytes, and gives the reason if it is refused. */
export const refusal = (rates: Rates, left: Allowance, now: number, bytes: number): string | undefined => {
  if (!TokenBucket.take(left.messages, rates.messages, now, 1)) {
    return `a browser sends at most ${rates.messages.perSecond} messages a second`
  }
  return TokenBucket.take(left.bytes, rates.bytes, now, bytes)
    ? undefined
    : `a browser sends at most ${rates.bytes.perSecond} bytes a second`
}

/** Counts a message beyond the rates, and tells whether the browser may stay connected. */
export const mayStay = (rates: Rates, left: Allowance, now: number): boolean =>
  TokenBucket.take(left.refusals, rates.refusals, now, 1)
