/**
 * Signed tokens (JWT), and keys to sign them with.
 */
import { Effect } from "effect"
import { type JWTPayload, SignJWT } from "jose"
import * as Crypto from "node:crypto"

export const secret = "0123456789abcdef0123456789abcdef"
export const rsa = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })
export const ec = Crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })

export const pemOf = ({ publicKey }: Crypto.KeyPairKeyObjectResult) =>
  String(publicKey.export({ type: "spki", format: "pem" }))

/** The public key as an entry of a key set. */
export const jwkOf = ({ publicKey }: Crypto.KeyPairKeyObjectResult, more: object = {}) => ({
  ...publicKey.export({ format: "jwk" }),
  ...more
})

export interface Signer {
  readonly alg?: string
  readonly key?: Crypto.KeyObject | Uint8Array
  readonly kid?: string
}

/** A token with these claims, by default for HS256 with `secret`. */
export const sign = (claims: JWTPayload, { alg = "HS256", key = Buffer.from(secret), kid }: Signer = {}) =>
  Effect.promise(() => new SignJWT(claims).setProtectedHeader({ alg, ...kid !== undefined && { kid } }).sign(key))

const encode = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")

/** A token that no library would make, by default without a signature. */
export const raw = (
  header: unknown,
  claims: unknown,
  signature: (input: string) => Uint8Array = () => new Uint8Array()
) => {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${Buffer.from(signature(input)).toString("base64url")}`
}

/** Signs as HS256 does, with whatever key. */
export const hmac = (key: string | Uint8Array) => (input: string): Uint8Array =>
  Crypto.createHmac("sha256", key).update(input).digest()
