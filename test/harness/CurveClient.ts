/**
 * A Client's side of CURVE by hand, as the RFC says it, with nothing of the broker's side but the cipher.
 */
import * as Crypto from "node:crypto"
import * as CurveKeys from "../../src/transport/CurveKeys.ts"
import type { CurveServer } from "../../src/transport/CurveServer.ts"

const text = (prefix: string, rest: Uint8Array) => Buffer.concat([Buffer.from(prefix), rest])

export const make = ({ cipher, publicKey }: Pick<CurveServer, "cipher" | "publicKey">) => {
  const [long, own] = [0, 0].map(() => Crypto.generateKeyPairSync("x25519").privateKey) as [
    Crypto.KeyObject,
    Crypto.KeyObject
  ]
  const shared = (secret: Crypto.KeyObject, key: Uint8Array) =>
    cipher.keyOf(Crypto.diffieHellman({ privateKey: secret, publicKey: CurveKeys.publicKeyOf(key) }))
  let number = 0n
  let key: Uint8Array | undefined
  const short = () => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(++number)
    return bytes
  }
  return {
    key: CurveKeys.publicOf(long).toString("hex"),
    hello: (): Buffer => {
      const nonce = short()
      const box = cipher.seal(new Uint8Array(64), text("CurveZMQHELLO---", nonce), shared(own, publicKey))
      return Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(72), CurveKeys.publicOf(own), nonce, box])
    },
    /** `vouchedFor` is what it vouches for with its key, by default its part in this handshake. */
    initiate: (
      welcome: Buffer,
      metadata: Uint8Array,
      vouchedFor: Uint8Array = Buffer.concat([CurveKeys.publicOf(own), publicKey])
    ): Buffer => {
      const opened = Buffer.from(
        cipher.open(welcome.subarray(16), text("WELCOME-", welcome.subarray(0, 16)), shared(own, publicKey))!
      )
      const server = opened.subarray(0, 32)
      key = shared(own, server)
      const random = Crypto.randomBytes(16)
      const vouch = cipher.seal(
        vouchedFor,
        text("VOUCH---", random),
        shared(long, server)
      )
      const nonce = short()
      const box = cipher.seal(
        Buffer.concat([CurveKeys.publicOf(long), random, vouch, metadata]),
        text("CurveZMQINITIATE", nonce),
        key
      )
      return Buffer.concat([opened.subarray(32), nonce, box])
    },
    seal: (flags: number, frame: Uint8Array): Buffer => {
      const nonce = short()
      const box = cipher.seal(Buffer.concat([Buffer.from([flags]), frame]), text("CurveZMQMESSAGEC", nonce), key!)
      return Buffer.concat([Buffer.from("\x07MESSAGE"), nonce, box])
    },
    open: (message: Buffer): Buffer =>
      Buffer.from(cipher.open(message.subarray(16), text("CurveZMQMESSAGES", message.subarray(8, 16)), key!)!)
  }
}
