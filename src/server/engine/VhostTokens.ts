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
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
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
  /** Adds a token, by default a random one, as the last. Adding one that the vhost has does nothing. */
  readonly add: (token?: string | Redacted.Redacted) => Effect.Effect<Redacted.Redacted, InvalidVhostTokenError>
  /** Removes a token, and returns it; `undefined` if the vhost does not have it. Fails for the last one. */
  readonly remove: (token: string | Redacted.Redacted) => Effect.Effect<VhostToken | undefined, InvalidVhostTokenError>
  /** Replaces all tokens by a new random one, which is returned, and returns those that were there. */
  readonly regenerate: Effect.Effect<{ readonly token: Redacted.Redacted; readonly removed: ReadonlyArray<VhostToken> }>
  /** What is stored of them. */
  readonly stored: () => { readonly token: Redacted.Redacted; readonly otherTokens?: Redacted.Redacted }
}

/**
 * How many access tokens a vhost may have at a time.
 *
 * @since 0.1.0
 */
export const maxTokens = 10

/**
 * Makes the tokens of a vhost.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly path: string
  /** Called when they have changed. */
  readonly onChange: () => void
  /** At least one. */
  readonly tokens: ReadonlyArray<Redacted.Redacted>
}): VhostTokens => {
  const { onChange, path } = options
  const tokens: Array<VhostToken> = []
  const enter = (value: Redacted.Redacted) => {
    const token: VhostToken = { value, isRemoved: () => !tokens.includes(token) }
    tokens.push(token)
  }
  const find = (wanted: Redacted.Redacted) => tokens.filter(({ value }) => isSame(value, wanted))[0]
  const reject = (detail: string) => Effect.fail(new InvalidVhostTokenError({ path, detail }))

  for (const token of options.tokens) if (find(token) === undefined) enter(token)
  return {
    list: () => tokens.map(({ value }) => value) as [Redacted.Redacted, ...Array<Redacted.Redacted>],
    find,
    stored: () => {
      const [current, ...others] = tokens.map(({ value }) => Redacted.value(value))
      return {
        token: Redacted.make(current!),
        ...others.length > 0 && { otherTokens: Redacted.make(others.join(" ")) }
      }
    },
    add: (given = random()) =>
      Effect.suspend(() => {
        const token = redacted(given)
        if (!isAccessToken(Redacted.value(token))) return reject(malformed)
        if (find(token) !== undefined) return Effect.succeed(token)
        if (tokens.length >= maxTokens) return reject(`it has ${maxTokens}, the limit; remove one first`)
        enter(token)
        onChange()
        return Effect.succeed(token)
      }),
    remove: (given) =>
      Effect.suspend(() => {
        const token = find(redacted(given))
        if (token === undefined) return Effect.undefined
        if (tokens.length === 1) return reject("it has no other one; add one first")
        tokens.splice(tokens.indexOf(token), 1)
        onChange()
        return Effect.succeed(token)
      }),
    regenerate: Effect.sync(() => {
      const token = random()
      const removed = tokens.splice(0)
      enter(token)
      onChange()
      return { token, removed }
    })
  }
}

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
