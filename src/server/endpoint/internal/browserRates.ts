/**
 * How much one browser may send: messages, bytes, and wrong single access tokens. Beyond it messages are rejected, and a
 * browser that sends as many rejected messages as a burst has is disconnected.
 */

import type * as BrokerConfig from "../../BrokerConfig.ts"
import * as TokenBucket from "./tokenBucket.ts"

/** How much browsers may send. */
export interface Rates {
  readonly messages: TokenBucket.Rate
  readonly bytes: TokenBucket.Rate
  /** How many messages may be rejected. */
  readonly refusals: TokenBucket.Rate
}

/** The rest of one browser's rates at the time `at`. Each browser has one, so it is one object. */
export interface Allowance {
  messages: number
  bytes: number
  at: number
  /** From the first message on that is rejected. */
  refusals: TokenBucket.Bucket | undefined
}

/** How many invalid single access tokens it may send. A token has 512 random bits, so nobody guesses one. */
export const guesses: TokenBucket.Rate = { perSecond: 1, burst: 10 }

/** Bursts are five seconds' worth, and at least one message, of the largest size. `undefined` says that nothing is limited. */
export const make = (
  { browsers: { byteRate, messageRate }, maxMessageSize }: BrokerConfig.Resolved
): Rates | undefined => {
  if (messageRate === Infinity && byteRate === Infinity) return undefined
  const messages = { perSecond: messageRate, burst: Math.max(1, 5 * messageRate) }
  return {
    messages,
    bytes: { perSecond: byteRate, burst: Math.max(maxMessageSize, 5 * byteRate) },
    refusals: messageRate === Infinity ? { perSecond: 200, burst: 1000 } : messages
  }
}

/** The full rates of a browser that has sent nothing yet. */
export const allowance = (rates: Rates, now: number): Allowance => ({
  messages: rates.messages.burst,
  bytes: rates.bytes.burst,
  at: now,
  refusals: undefined
})

/** Counts a message of so many bytes, and returns the reason if it is rejected. */
export const refusal = (rates: Rates, left: Allowance, now: number, bytes: number): string | undefined => {
  const elapsed = now - left.at
  left.messages = TokenBucket.filled(left.messages, rates.messages, elapsed)
  left.bytes = TokenBucket.filled(left.bytes, rates.bytes, elapsed)
  left.at = now
  if (left.messages < 1) return `a browser sends at most ${rates.messages.perSecond} messages a second`
  left.messages--
  if (left.bytes < bytes) return `a browser sends at most ${rates.bytes.perSecond} bytes a second`
  left.bytes -= bytes
  return undefined
}

/** Counts a message beyond the rates, and returns whether the browser may stay connected. */
export const mayStay = (rates: Rates, left: Allowance, now: number): boolean =>
  TokenBucket.take(left.refusals ??= TokenBucket.make(rates.refusals, now), rates.refusals, now, 1)
