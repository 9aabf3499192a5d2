/**
 * Loads the package `jose`, which verifies signed tokens, if a broker has keys for them: its parser and its checks are known to
 * be right, and mistakes in them would let strangers in.
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Key } from "./key.ts"

/** What the claims of a token must be beside signed. */
export interface Checks {
  readonly audience: string | undefined
  readonly issuer: string | undefined
  /** In seconds. */
  readonly clockTolerance: number
}

/** The header of a token, as far as it decides which keys are tried. Nobody has signed it yet. */
export interface Header {
  readonly alg: string | undefined
  readonly kid: string | undefined
}

/** What is used of the package. */
export interface Jose {
  /** Reads the header; `undefined` if the text is no token. */
  readonly header: (jwt: string) => Header | undefined
  /**
   * Verifies a token with a key, by the algorithm of that key and no other, at a time in milliseconds since 1970. Succeeds with
   * `exp` in seconds.
   */
  readonly verify: (jwt: string, key: Key, checks: Checks, now: number) => Effect.Effect<number, Unverified>
}

/** Why a token was not verified. If another key has signed it, another one may be tried. */
export interface Unverified {
  readonly mayBeOfAnotherKey: boolean
  readonly reason: string
}

/** Loads it. Fails with the reason if the package is missing. */
export const load = Effect.map(
  Effect.tryPromise(() => import("jose")),
  ({ decodeProtectedHeader, jwtVerify }): Jose => ({
    header: (jwt) => {
      const header = Result.getOrUndefined(Result.try(() => decodeProtectedHeader(jwt)))
      return header && { alg: textOf(header.alg), kid: textOf(header.kid) }
    },
    verify: (jwt, { alg, key }, { audience, clockTolerance, issuer }, now) =>
      Effect.tryPromise({
        try: () =>
          jwtVerify(jwt, key, {
            algorithms: [alg],
            requiredClaims: ["sub", "exp"],
            clockTolerance,
            currentDate: new Date(now),
            ...audience !== undefined && { audience },
            ...issuer !== undefined && { issuer }
          }),
        catch: unverified
      }).pipe(Effect.map(({ payload }) => payload.exp!))
  })
)

const textOf = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

const unverified = (error: unknown): Unverified => {
  const code = (error as { readonly code?: unknown } | undefined)?.code
  return code === "ERR_JWT_EXPIRED"
    ? { mayBeOfAnotherKey: false, reason: "it has expired" }
    : code === "ERR_JWT_CLAIM_VALIDATION_FAILED"
    ? { mayBeOfAnotherKey: false, reason: (error as Error).message }
    : code === "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"
    ? { mayBeOfAnotherKey: true, reason: unsigned }
    : { mayBeOfAnotherKey: false, reason: "it is no signed token (JWT) that this broker can read" }
}

/** No key of the broker has signed it. */
export const unsigned = "no key of this broker has signed it"
