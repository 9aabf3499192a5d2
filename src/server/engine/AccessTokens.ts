/**
 * The single access tokens of one vhost: each lets one browser authenticate once.
 *
 * A token is 128 random hexadecimal digits, valid until it is used or has expired. How long it lives is measured by monotonic
 * time; what is stored is when it expires by the wall clock.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import { InternalError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as Permission from "../domain/Permission.ts"
import * as Patterns from "./internal/patterns.ts"
import * as Timeline from "./internal/timeline.ts"
import * as Journal from "./Journal.ts"

/**
 * The single access tokens of one vhost.
 *
 * @since 0.1.0
 */
export interface AccessTokens {
  /**
   * Issues a token for `uid`, for channels whose whole name matches `pattern`. Fails with 597 if the pattern is invalid or too
   * large, or if too many tokens are unused.
   */
  readonly issue: (uid: string, pattern: string) => Effect.Effect<Redacted.Redacted, InternalError>
  /** Uses a token, which is possible once. Unknown, used and expired ones fail alike. */
  readonly redeem: (token: string) => Effect.Effect<Permission.Permission, UnauthorizedError>
}

/**
 * A token that is not used yet.
 *
 * @since 0.1.0
 */
export interface Issued {
  readonly token: Redacted.Redacted
  readonly uid: string
  readonly pattern: string
  /** In milliseconds since 1970. */
  readonly expiresAt: number
}

/**
 * Makes a vhost's tokens, with the restored ones. At most `maxAccessTokens` may be unused; beyond that, issuing fails with 597.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly maxAccessTokens: number
  readonly accessTokenTimeToLive: Duration.Duration
  readonly clock: Clock.Clock
  /** Compiles patterns, default with a cache of its own. */
  readonly patterns?: Patterns.Patterns | undefined
  /** Records their changes, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** The tokens to restore. */
  readonly issued?: ReadonlyArray<Issued> | undefined
}): AccessTokens => {
  const { clock, journal = Journal.none, patterns = Patterns.make() } = options
  const timeToLive = Duration.toMillis(options.accessTokenTimeToLive)
  // In the order of their expiry, since all have the same time to live.
  const tokens = restore(options.issued ?? [], clock, timeToLive)

  const permissionOf = (uid: string, pattern: string) => Effect.fromResult(Permission.make(uid, pattern, patterns))
  const remove = (token: string) => {
    tokens.delete(token)
    journal.deleted("AccessToken", token)
  }
  const dropExpired = () => {
    const now = Timeline.nowOf(clock)
    for (const [token, { expiresAt }] of tokens) {
      if (expiresAt > now) return
      remove(token)
    }
  }

  return {
    issue: Effect.fnUntraced(function*(uid, pattern) {
      yield* permissionOf(uid, pattern)
      dropExpired()
      if (tokens.size >= options.maxAccessTokens) {
        return yield* new InternalError({ detail: `${tokens.size} access tokens are unused, which is the limit` })
      }
      const token = Hex.encode(SecureRandom.randomBytesUnsafe(64))
      const issued = Redacted.make(token)
      tokens.set(token, { uid, pattern, expiresAt: Timeline.nowOf(clock) + timeToLive })
      const expiresAt = clock.currentTimeMillisUnsafe() + timeToLive
      journal.created({ _tag: "AccessToken", token: issued, uid, pattern, expiresAt })
      return issued
    }),

    redeem: Effect.fnUntraced(function*(token) {
      dropExpired()
      const entry = tokens.get(token)
      if (entry === undefined) return yield* unauthorized
      remove(token)
      return yield* Effect.mapError(permissionOf(entry.uid, entry.pattern), () => unauthorized)
    })
  }
}

interface Entry {
  readonly uid: string
  readonly pattern: string
  /** In monotonic milliseconds. */
  readonly expiresAt: number
}

// The wall clock or the time to live may have changed: a restored token lives no longer than a new one.
const restore = (issued: ReadonlyArray<Issued>, clock: Clock.Clock, timeToLive: number): Map<string, Entry> => {
  const [wall, now] = [clock.currentTimeMillisUnsafe(), Timeline.nowOf(clock)]
  const entries = issued.map(({ expiresAt, pattern, token, uid }) => {
    const left = Math.min(Math.max(expiresAt - wall, 0), timeToLive)
    return [Redacted.value(token), { uid, pattern, expiresAt: now + left }] as const
  })
  return new Map(entries.toSorted(([, one], [, other]) => one.expiresAt - other.expiresAt))
}

const unauthorized = new UnauthorizedError({ detail: "the single access token is unknown, used or expired" })
