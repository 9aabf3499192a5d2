/**
 * The single access tokens of one vhost: each lets one browser authenticate once.
 *
 * A token is 128 random hexadecimal digits, valid until it is used, revoked or has expired, and no longer than what it grants.
 * How long it lives is measured by monotonic time; what is stored is when it expires by the wall clock.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import type { Grant } from "../../protocol/Grant.ts"
import { InternalError, UnauthorizedError } from "../../protocol/KosmonautError.ts"
import * as Permission from "../domain/Permission.ts"
import { ownText } from "./internal/ownText.ts"
import * as Patterns from "./internal/patterns.ts"
import * as StoredGrant from "./internal/storedGrant.ts"
import * as Timeline from "./internal/timeline.ts"
import * as UnusedTokens from "./internal/unusedTokens.ts"
import * as Journal from "./Journal.ts"
import * as StatelessTokens from "./StatelessTokens.ts"

/**
 * What a token grants beside its user and its pattern, see `Grant`.
 *
 * @since 0.1.0
 */
export type Options = Omit<Grant, "uid" | "pattern">

/** How many tokens that have expired are dropped in one step: a hundred thousand may expire in the same moment. */
const maxDropped = 100

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
  readonly issue: (uid: string, pattern: string, options?: Options) => Effect.Effect<Redacted.Redacted, InternalError>
  /**
   * Uses a token, which is possible once, also after a restart of the broker. Unknown, used, revoked and expired ones fail
   * alike. Fails with 597 if it cannot be persisted that the token is used.
   */
  readonly redeem: (token: string) => Effect.Effect<Permission.Permission, UnauthorizedError | InternalError>
  /**
   * What a stateless token grants, see `StatelessTokens`. It can be used any number of times until it expires, and not be
   * revoked.
   */
  readonly verify: StatelessTokens.StatelessTokens["verify"]
  /** Revokes the tokens of a user with which no browser has authenticated yet, and returns how many there were. */
  readonly revoke: (uid: string) => Effect.Effect<number, InternalError>
}

/**
 * What the tokens of a vhost need wherever they are kept.
 *
 * @since 0.1.0
 */
export interface Shared {
  readonly maxAccessTokens: number
  readonly accessTokenTimeToLive: Duration.Duration
  readonly clock: Clock.Clock
  readonly patterns: Patterns.Patterns
}

/**
 * The tokens of vhosts that several nodes share. A broker without this service has tokens of its own.
 *
 * @since 0.1.0
 */
export class SharedAccessTokens extends Context.Service<SharedAccessTokens, {
  readonly tokensOf: (vhost: string, options: Shared) => Omit<AccessTokens, "verify">
}>()("kosmonaut/server/engine/SharedAccessTokens") {}

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
  /** What else it grants, as `StoredGrant` writes it. */
  readonly grant?: string | undefined
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
  /** Verifies stateless tokens, default none. */
  readonly verifier?: StatelessTokens.Verifier | undefined
  /** The path of the vhost, for which stateless tokens may be. */
  readonly path?: string | undefined
}): AccessTokens => {
  const { clock, journal = Journal.none, patterns = Patterns.make() } = options
  const timeToLive = Duration.toMillis(options.accessTokenTimeToLive)
  const tokens = UnusedTokens.make()
  for (const one of options.issued ?? []) tokens.add(restored(one, clock, timeToLive))

  const permissionOf = (uid: string, pattern: string, granted: Permission.Granted | undefined) =>
    Effect.fromResult(Permission.make(uid, pattern, patterns, granted))
  const remove = (token: UnusedTokens.Token) => {
    tokens.remove(token)
    journal.deleted("AccessToken", token.token)
  }
  const { revoke, use } = makeRedeemer(tokens, remove, journal.persisted)
  const dropExpired = (now: number) => dropSome(tokens, remove, now)

  return {
    issue: Effect.fnUntraced(function*(givenUid, givenPattern, rest) {
      const [uid, pattern] = [ownText(givenUid), ownText(givenPattern)]
      const [now, wall] = [Timeline.nowOf(clock), clock.currentTimeMillisUnsafe()]
      const granted = rest && StoredGrant.grantedOf(rest, now)
      yield* permissionOf(uid, pattern, granted)
      dropExpired(now)
      if (tokens.size() >= options.maxAccessTokens) {
        return yield* tooMany(tokens.size())
      }
      const token = Hex.encode(SecureRandom.randomBytesUnsafe(64))
      const issued = Redacted.make(token)
      const life = Math.min(timeToLive, rest?.expiresIn ?? Infinity)
      tokens.add({ token, uid, pattern, granted, expiresAt: now + life })
      const grant = rest && StoredGrant.encode(rest, wall)
      journal.created({
        _tag: "AccessToken",
        token: issued,
        uid,
        pattern,
        expiresAt: wall + life,
        ...grant && { grant }
      })
      return issued
    }),

    redeem: Effect.fnUntraced(function*(token) {
      const now = Timeline.nowOf(clock)
      dropExpired(now)
      const { granted, pattern, uid } = yield* use(token, now)
      return yield* Effect.mapError(permissionOf(uid, pattern, granted), () => unauthorized)
    }),

    verify: StatelessTokens.make({ ...options, patterns }).verify,

    revoke: (uid) => Effect.sync(() => revoke(uid, Timeline.nowOf(clock)))
  }
}

// Those that are left are dropped by the next ones, and are not valid meanwhile. One is room enough for another.
const dropSome = (
  tokens: UnusedTokens.UnusedTokens,
  remove: (token: UnusedTokens.Token) => void,
  now: number
): void => {
  let next = tokens.next()
  for (let count = 0; count < maxDropped && next !== undefined && next.expiresAt <= now; count++) {
    remove(next)
    next = tokens.next()
  }
}

// A token may be revoked until it is persisted that it is used: until then its browser is not authenticated.
const makeRedeemer = (
  tokens: UnusedTokens.UnusedTokens,
  remove: (token: UnusedTokens.Token) => void,
  persisted: Journal.Journal["persisted"]
) => {
  const used = new Set<UnusedTokens.Token>()
  return {
    use: Effect.fnUntraced(function*(text: string, now: number) {
      const token = tokens.get(text)
      if (token === undefined || token.expiresAt <= now) return yield* unauthorized
      remove(token)
      used.add(token)
      yield* Effect.onError(persisted, () => Effect.sync(() => used.delete(token)))
      return used.delete(token) ? token : yield* unauthorized
    }),
    revoke: (uid: string, now: number): number => {
      const [unused, using] = [tokens.ofUser(uid), [...used].filter((token) => token.uid === uid)]
      unused.forEach(remove)
      for (const token of using) used.delete(token)
      return unused.filter(({ expiresAt }) => expiresAt > now).length + using.length
    }
  }
}

// The wall clock or the time to live may have changed: a restored token lives no longer than a new one.
const restored = (issued: Issued, clock: Clock.Clock, timeToLive: number): UnusedTokens.Token => {
  const [wall, now] = [clock.currentTimeMillisUnsafe(), Timeline.nowOf(clock)]
  const { expiresAt, grant, pattern, token, uid } = issued
  const left = Math.min(Math.max(expiresAt - wall, 0), timeToLive)
  const granted = grant === undefined ? undefined : StoredGrant.decode(grant, wall, now)
  const endsAt = Math.min(now + left, granted?.expiresAt ?? Infinity)
  return { token: Redacted.value(token), uid, pattern, granted, expiresAt: endsAt }
}

/**
 * What else a token grants, as text that says for how long; empty if it grants nothing else.
 *
 * @since 0.1.0
 */
export const encodeGrant = (options: Options | undefined): string => (options && StoredGrant.encode(options, 0)) ?? ""

/**
 * What it grants now, `age` milliseconds after it was issued.
 *
 * @since 0.1.0
 */
export const decodeGrant = (text: string, age: number, clock: Clock.Clock): Permission.Granted | undefined =>
  text === "" ? undefined : StoredGrant.decode(text, age, Timeline.nowOf(clock))

/**
 * The failure to issue a token if as many as may be are unused.
 *
 * @since 0.1.0
 */
export const tooMany = (unused: number): InternalError =>
  new InternalError({ detail: `${unused} access tokens are unused, which is the limit` })

/**
 * The failure to use a token.
 *
 * @since 0.1.0
 */
export const unauthorized: UnauthorizedError = new UnauthorizedError({
  detail: "the single access token is unknown, used or expired"
})
