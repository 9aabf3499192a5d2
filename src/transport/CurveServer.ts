/**
 * The broker's key for CURVE, and the ciphers that it needs.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { KeyObject } from "node:crypto"
import type { KeyPair } from "./CurveKeys.ts"
import * as CurveKeys from "./CurveKeys.ts"
import * as TweetNaCl from "./internal/tweetnaclModule.ts"

/**
 * What a server needs to speak CURVE.
 *
 * @since 0.1.0
 */
export interface CurveServer {
  readonly cipher: TweetNaCl.Cipher
  readonly secretKey: KeyObject
  readonly publicKey: Buffer
}

/**
 * Loads the package `tweetnacl`, which is optional. Fails with the reason if it is missing.
 *
 * @since 0.1.0
 */
export const make = ({ publicKey, secretKey }: KeyPair): Effect.Effect<CurveServer, Error> =>
  Effect.map(TweetNaCl.load, (cipher) => ({
    cipher,
    secretKey: CurveKeys.privateKeyOf(Buffer.from(Redacted.value(secretKey), "hex")),
    publicKey: Buffer.from(publicKey, "hex")
  }))
