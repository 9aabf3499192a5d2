/**
 * The single access tokens of one vhost: each lets one browser authenticate once.
 *
 * A token is 128 random hexadecimal digits, good until it is used or its time is over.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import { InternalError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as Permission from "../domain/Permission.ts"
import * as Journal from "./Journal.ts"

/**
 * The single access tokens of one vhost.
 *
 * @since 0.1.0
 */
export interface AccessTokens {
  /** Makes a token for `uid`, for channels whose whole name matches `pattern`. */
  readonly issue: (uid: string, pattern: string) => Effect.Effect<Redacted.Redacted, InternalError>
  /** Uses a token up. Unknown, used and expired ones fail alike. */
  readonly redeem: (token: string) => Effect.Effect<Permission.Permission, UnauthorizedError>
}

/**
 * A token that waits for its use.
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
 * Makes a vhost's tokens, those that an earlier broker has left. At most `maxAccessTokens` wait for their use; beyond it issuing fails with 597.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly maxAccessTokens: number
  readonly accessTokenTimeToLive: Duration.Duration
  /** Where it is noted what becomes of them, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal knows of, the oldest first. */
  readonly issued?: ReadonlyArray<Issued> | undefined
}): AccessTokens => {
  const journal = options.journal ?? Journal.none
  const timeToLive = Duration.toMillis(options.accessTokenTimeToLive)
  // Mostly in the order of their expiry, since all live equally long. A pattern is compiled anew for its use: compiled it
  // has kilobytes.
  const tokens = new Map<string, Omit<Issued, "token">>()

  const dropExpired = (now: number) => {
    for (const [token, { expiresAt }] of tokens) {
      if (expiresAt > now) return
      forget(token)
    }
  }
  const forget = (token: string) => {
    tokens.delete(token)
    journal.forget("AccessToken", token)
  }
  for (const { token, ...issued } of options.issued ?? []) tokens.set(Redacted.value(token), issued)

  return {
    issue: Effect.fnUntraced(function*(uid, pattern) {
      yield* Effect.fromResult(Permission.make(uid, pattern))
      const now = yield* Clock.currentTimeMillis
      dropExpired(now)
      if (tokens.size >= options.maxAccessTokens) {
        return yield* new InternalError({
          detail: `${tokens.size} access tokens wait for their use, the most that can`
        })
      }
      const token = Hex.encode(SecureRandom.randomBytesUnsafe(64))
      const expiresAt = now + timeToLive
      const issued = Redacted.make(token)
      tokens.set(token, { uid, pattern, expiresAt })
      journal.noteNew({ _tag: "AccessToken", token: issued, uid, pattern, expiresAt })
      return issued
    }),

    redeem: Effect.fnUntraced(function*(token) {
      const now = yield* Clock.currentTimeMillis
      dropExpired(now)
      const entry = tokens.get(token)
      if (entry !== undefined) forget(token)
      // One can be over that does not look it: the time to live was another, or the clock went back.
      if (entry === undefined || entry.expiresAt <= now) return yield* unauthorized
      return yield* Effect.mapError(Effect.fromResult(Permission.make(entry.uid, entry.pattern)), () => unauthorized)
    })
  }
}

const unauthorized = new UnauthorizedError({ detail: "the single access token is unknown, used or expired" })
