/**
 * The broker's key for CURVE, and the ciphers that it needs.
 *
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { KeyObject } from "node:crypto"
import * as CurveKeys from "./CurveKeys.ts"
import * as TweetNaCl from "./internal/tweetnaclModule.ts"

/**
 * The cipher of CURVE.
 *
 * @since 0.1.0
 */
export interface Cipher {
  /** Encrypts and authenticates with a nonce of 24 bytes. */
  readonly seal: (message: Uint8Array, nonce: Uint8Array, key: Uint8Array) => Uint8Array
  /** The message; `null` if it was not sealed with this key and nonce. */
  readonly open: (box: Uint8Array, nonce: Uint8Array, key: Uint8Array) => Uint8Array | null
  /** The key for both directions, from the secret that both sides have computed. */
  readonly keyOf: (shared: Uint8Array) => Uint8Array
}

/**
 * What a server needs to speak CURVE.
 *
 * @since 0.1.0
 */
export interface CurveServer {
  readonly cipher: Cipher
  readonly secretKey: KeyObject
  readonly publicKey: Buffer
}

/**
 * Loads the package `tweetnacl`, which is optional. Fails with the reason if it is missing.
 *
 * @since 0.1.0
 */
export const make = ({ publicKey, secretKey }: CurveKeys.KeyPair): Effect.Effect<CurveServer, Cause.UnknownError> =>
  Effect.map(TweetNaCl.load, (cipher) => ({
    cipher,
    secretKey: CurveKeys.privateKeyOf(Buffer.from(Redacted.value(secretKey), "hex")),
    publicKey: Buffer.from(publicKey, "hex")
  }))
