/**
 * The keys of signed tokens. Each has one algorithm, whatever a token says: otherwise a public key could be used as the secret
 * of another algorithm. Weak keys are none.
 */

import * as Result from "effect/Result"
import * as Crypto from "node:crypto"

/** A key, and the one algorithm that it verifies. */
export interface Key {
  readonly alg: "HS256" | "RS256" | "ES256"
  /** Its name, if it has one. */
  readonly kid: string | undefined
  readonly key: Crypto.KeyObject
}

/** How many bytes a secret has at least, as RFC 7518 says. */
export const minSecret = 32

/** A secret for HS256; `undefined` if it is too short. */
export const fromSecret = (secret: string): Key | undefined => {
  const bytes = Buffer.from(secret)
  return bytes.length < minSecret
    ? undefined
    : { alg: "HS256", kid: undefined, key: Crypto.createSecretKey(bytes) }
}

/** The public key in a PEM text; `undefined` if its kind is unknown or if it is a private key. */
export const fromPem = (text: string): Key | undefined =>
  /PRIVATE KEY/.test(text) ? undefined : publicKey(() => Crypto.createPublicKey(text), undefined)

/** The keys of a key set (JWKS) that verify signatures; `undefined` if the value is no key set. Other keys in it are left out. */
export const fromKeySet = (value: unknown): ReadonlyArray<Key> | undefined => {
  const keys = (value as { readonly keys?: unknown } | null | undefined)?.keys
  return Array.isArray(keys) ? keys.slice(0, maxKeys).flatMap((jwk) => fromJwk(jwk) ?? []) : undefined
}

/** How many keys of a set are used. */
const maxKeys = 100

interface Jwk extends Crypto.JsonWebKey {
  readonly alg?: unknown
  readonly kid?: unknown
  readonly use?: unknown
}

const fromJwk = (jwk: Jwk | null | undefined): Key | undefined => {
  if (typeof jwk !== "object" || jwk === null || (jwk.use !== undefined && jwk.use !== "sig")) return undefined
  const kid = typeof jwk.kid === "string" ? jwk.kid : undefined
  const key = publicKey(() => Crypto.createPublicKey({ key: jwk, format: "jwk" }), kid)
  return key !== undefined && (jwk.alg === undefined || jwk.alg === key.alg) ? key : undefined
}

const publicKey = (make: () => Crypto.KeyObject, kid: string | undefined): Key | undefined => {
  const key = Result.getOrUndefined(Result.try(make))
  const { modulusLength = 0, namedCurve } = key?.asymmetricKeyDetails ?? {}
  return key?.asymmetricKeyType === "rsa" && modulusLength >= 2048
    ? { alg: "RS256", kid, key }
    : key?.asymmetricKeyType === "ec" && namedCurve === "prime256v1"
    ? { alg: "ES256", kid, key }
    : undefined
}
