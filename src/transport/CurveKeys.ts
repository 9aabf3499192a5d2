/**
 * Pairs of keys for CURVE, the encryption of ZeroMQ. A secret key is redacted, and its text are 64 hexadecimal digits.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"

/**
 * A public key and the secret one that belongs to it.
 *
 * @since 0.1.0
 */
export interface KeyPair {
  /** 64 hexadecimal digits. */
  readonly publicKey: string
  readonly secretKey: Redacted.Redacted
}

/**
 * Makes a new pair.
 *
 * @since 0.1.0
 */
export const generate: Effect.Effect<KeyPair> = Effect.sync(() => fromSecretKey(Crypto.randomBytes(32).toString("hex")))

/**
 * The pair of a secret key of 64 hexadecimal digits.
 *
 * @since 0.1.0
 */
export const fromSecretKey = (secretKey: string): KeyPair => ({
  publicKey: publicOf(privateKeyOf(Buffer.from(secretKey, "hex"))).toString("hex"),
  secretKey: Redacted.make(secretKey)
})

/**
 * The key object of a secret key.
 *
 * @internal
 */
export const privateKeyOf = (bytes: Uint8Array): Crypto.KeyObject =>
  Crypto.createPrivateKey({ key: Buffer.concat([privatePrefix, bytes]), format: "der", type: "pkcs8" })

/**
 * The key object of a public key.
 *
 * @internal
 */
export const publicKeyOf = (bytes: Uint8Array): Crypto.KeyObject =>
  Crypto.createPublicKey({ key: Buffer.concat([publicPrefix, bytes]), format: "der", type: "spki" })

/**
 * The bytes of the public key that belongs to a secret one.
 *
 * @internal
 */
export const publicOf = (secretKey: Crypto.KeyObject): Buffer =>
  Crypto.createPublicKey(secretKey).export({ format: "der", type: "spki" }).subarray(-32)

// What stands before the 32 bytes of an X25519 key in DER. (Source: RFC 8410.)
const privatePrefix = Buffer.from("302e020100300506032b656e04220420", "hex")
const publicPrefix = Buffer.from("302a300506032b656e032100", "hex")
