/**
 * The single access tokens of a vhost, in Redis: issued by any node, and used once over all nodes. How long they live is measured by
 * Redis' time.
 */

import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"
import { InternalError } from "../../protocol/KosmonautError.ts"
import type { LeaseLostError } from "../BrokerError.ts"
import * as Permission from "../domain/Permission.ts"
import * as AccessTokens from "../engine/AccessTokens.ts"
import type { CommandError } from "./internal/link.ts"
import * as TokenScripts from "./internal/tokenScripts.ts"
import * as Keys from "./Keys.ts"
import type { Nodes } from "./Nodes.ts"

/** Makes the tokens of a vhost. */
export const make = (
  nodes: Pick<Nodes, "run">,
  vhost: string,
  { accessTokenTimeToLive, clock, maxAccessTokens, patterns }: AccessTokens.Shared
): Omit<AccessTokens.AccessTokens, "verify"> => {
  const timeToLive = Duration.toMillis(accessTokenTimeToLive)
  const [one, all] = [Keys.ofVhost(vhost, "token:"), Keys.ofVhost(vhost, "tokens")]
  const ofUser = (uid: string) => Keys.ofVhost(vhost, `tokens:${uid}`)
  const run = (...args: Parameters<Nodes["run"]>) => Effect.mapError(nodes.run(...args), errorOf)
  return {
    issue: Effect.fnUntraced(function*(uid, pattern, rest) {
      yield* Effect.fromResult(Permission.make(uid, pattern, patterns))
      const token = Hex.encode(SecureRandom.randomBytesUnsafe(64))
      // What has no end outlasts nothing; what has ended already is there for a moment.
      const life = Math.ceil(Math.min(Math.max(1, Math.min(timeToLive, rest?.expiresIn ?? Infinity)), longest))
      const issued = yield* run(
        TokenScripts.issue,
        [one + token, all, ofUser(uid)],
        [token, life, Math.min(maxAccessTokens, Number.MAX_SAFE_INTEGER), uid, pattern, AccessTokens.encodeGrant(rest)]
      )
      return issued === 1 ? Redacted.make(token) : yield* AccessTokens.tooMany(maxAccessTokens)
    }),
    redeem: Effect.fnUntraced(function*(token) {
      // No other name may be made of what a browser sends.
      if (!/^[0-9a-f]{128}$/.test(token)) return yield* AccessTokens.unauthorized
      const found = (yield* run(TokenScripts.redeem, [one + token, all], [token])) as Found | null
      if (found === null) return yield* AccessTokens.unauthorized
      const [uid, pattern, grant, age] = found
      return yield* Effect.mapError(
        Effect.fromResult(Permission.make(uid, pattern, patterns, AccessTokens.decodeGrant(grant, age, clock))),
        () => AccessTokens.unauthorized
      )
    }),
    revoke: (uid) => Effect.map(run(TokenScripts.revoke, [all, ofUser(uid)], [one]), Number)
  }
}

/** Redis counts no longer. In milliseconds. */
const longest = 1e12

type Found = readonly [uid: string, pattern: string, grant: string, age: number]

const errorOf = ({ message }: CommandError | LeaseLostError) => new InternalError({ detail: message })
