/**
 * Loads the package `tweetnacl`, which has the cipher of CURVE, if a broker has a key: Node.js has the same curve, and not the
 * cipher.
 */

import * as Effect from "effect/Effect"
import type TweetNaCl from "tweetnacl"

/** Loads it. Fails with the reason if the package is missing. */
export const load = Effect.map(
  Effect.tryPromise(() => import("tweetnacl")),
  (loaded) => {
    const nacl = loaded.default as typeof TweetNaCl & Lowlevel
    return {
      seal: (message: Uint8Array, nonce: Uint8Array, key: Uint8Array) => nacl.secretbox(message, nonce, key),
      open: (box: Uint8Array, nonce: Uint8Array, key: Uint8Array) => nacl.secretbox.open(box, nonce, key),
      keyOf: (shared: Uint8Array) => {
        const key = new Uint8Array(32)
        nacl.lowlevel.crypto_core_hsalsa20(key, zeros, shared, sigma)
        return key
      }
    }
  }
)

// Not among its types.
interface Lowlevel {
  readonly lowlevel: {
    readonly crypto_core_hsalsa20: (out: Uint8Array, input: Uint8Array, key: Uint8Array, sigma: Uint8Array) => void
  }
}

const zeros = new Uint8Array(16)
const sigma = Buffer.from("expand 32-byte k")
