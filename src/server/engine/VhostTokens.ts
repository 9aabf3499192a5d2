/**
 * The access tokens of one vhost, with which its backends authenticate. There may be several at a time, so that they can be
 * rotated without a pause: add one, give it to all backends, and remove the old one.
 *
 * The first one is the current one. There is always at least one, and at most `maxTokens`.
 *
 * @since 0.1.0
 */

import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { isAccessToken } from "../../protocol/Endpoint.ts"
import { InvalidVhostTokenError } from "../BrokerError.ts"

/**
 * An access token. It is the same object until it is removed.
 *
 * @since 0.1.0
 */
export interface VhostToken {
  readonly value: Redacted.Redacted
  readonly isRemoved: () => boolean
}

/**
 * The access tokens of one vhost.
 *
 * @since 0.1.0
 */
export interface VhostTokens {
  /** All of them, the current one first. */
  readonly list: () => readonly [Redacted.Redacted, ...ReadonlyArray<Redacted.Redacted>]
  /** The one that is this token. All are compared, each in constant time. */
  readonly find: (token: Redacted.Redacted) => VhostToken | undefined
  /** Replaces them by others, at least one, and returns those that are removed by that. */
  readonly set: (tokens: ReadonlyArray<Redacted.Redacted>) => ReadonlyArray<VhostToken>
}

/**
 * What becomes of access tokens, and what that is told with.
 *
 * @since 0.1.0
 */
export interface Decision<out A> {
  /** The same array if nothing changes. */
  readonly tokens: ReadonlyArray<Redacted.Redacted>
  readonly value: A
}

/**
 * How many access tokens a vhost may have at a time.
 *
 * @since 0.1.0
 */
export const maxTokens = 10

/**
 * Makes the tokens of a vhost, at least one. One that is given twice counts once.
 *
 * @since 0.1.0
 */
export const make = (first: ReadonlyArray<Redacted.Redacted>): VhostTokens => {
  let tokens: ReadonlyArray<VhostToken> = []
  const find = (wanted: Redacted.Redacted) => tokens.filter(({ value }) => isSame(value, wanted))[0]
  const enter = (value: Redacted.Redacted): VhostToken => {
    const token: VhostToken = { value, isRemoved: () => !tokens.includes(token) }
    return token
  }
  const set = (given: ReadonlyArray<Redacted.Redacted>) => {
    const before = tokens
    tokens = unique(given).map((value) => find(value) ?? enter(value))
    return before.filter((token) => token.isRemoved())
  }
  set(first)
  return {
    list: () => tokens.map(({ value }) => value) as [Redacted.Redacted, ...Array<Redacted.Redacted>],
    find,
    set
  }
}

/**
 * Adds a token, by default a random one, as the last. Adding one that is there changes nothing.
 *
 * @since 0.1.0
 */
export const adding = (
  path: string,
  tokens: ReadonlyArray<Redacted.Redacted>,
  given: string | Redacted.Redacted = random()
): Result.Result<Decision<Redacted.Redacted>, InvalidVhostTokenError> => {
  const token = redacted(given)
  if (!isAccessToken(Redacted.value(token))) return reject(path, malformed)
  if (has(tokens, token)) return Result.succeed({ tokens, value: token })
  if (tokens.length >= maxTokens) return reject(path, `it has ${maxTokens}, the limit; remove one first`)
  return Result.succeed({ tokens: [...tokens, token], value: token })
}

/**
 * Removes a token, and tells whether it is there. Fails for the only one.
 *
 * @since 0.1.0
 */
export const removing = (
  path: string,
  tokens: ReadonlyArray<Redacted.Redacted>,
  given: string | Redacted.Redacted
): Result.Result<Decision<boolean>, InvalidVhostTokenError> => {
  const token = redacted(given)
  if (!has(tokens, token)) return Result.succeed({ tokens, value: false })
  if (tokens.length === 1) return reject(path, "it has no other one; add one first")
  return Result.succeed({ tokens: tokens.filter((one) => !isSame(one, token)), value: true })
}

/**
 * Each token once, where it is first.
 *
 * @since 0.1.0
 */
export const unique = (tokens: ReadonlyArray<Redacted.Redacted>): ReadonlyArray<Redacted.Redacted> =>
  tokens.filter((token, index) => !has(tokens.slice(0, index), token))

/**
 * Whether a token is among these.
 *
 * @since 0.1.0
 */
export const has = (tokens: ReadonlyArray<Redacted.Redacted>, token: Redacted.Redacted): boolean =>
  tokens.filter((one) => isSame(one, token)).length > 0

const reject = (path: string, detail: string) => Result.fail(new InvalidVhostTokenError({ path, detail }))

/**
 * What an access token has to be.
 *
 * @since 0.1.0
 */
export const malformed = "an access token has 40 letters, digits or _"

/**
 * A random access token.
 *
 * @since 0.1.0
 */
export const random = (): Redacted.Redacted => Redacted.make(Hex.encode(SecureRandom.randomBytesUnsafe(20)))

/**
 * A token as a secret.
 *
 * @since 0.1.0
 */
export const redacted = (token: string | Redacted.Redacted): Redacted.Redacted =>
  Redacted.isRedacted(token) ? token : Redacted.make(token)

const isSame = (one: Redacted.Redacted, other: Redacted.Redacted): boolean =>
  Mac.timingSafeEqual(encoder.encode(Redacted.value(one)), encoder.encode(Redacted.value(other)))

const encoder = new TextEncoder()
