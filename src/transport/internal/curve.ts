/**
 * CURVE on the broker's side: the handshake in which a Client sees that the broker has its secret key, and shows its own, and the
 * encryption of everything after it. (Source: ZeroMQ RFC 26.)
 *
 * A replayed handshake fails, because the broker takes part in each with a new key. A replayed or reordered message fails,
 * because their numbers rise. A stranger that has shown nothing costs nothing. With `HELLO` it costs one key exchange and a new
 * key, and two more exchanges if it goes on. Until the deadline of its connection two keys and a random cookie are kept for it,
 * about a kilobyte; after the handshake they are forgotten.
 *
 * The RFC would rather have both keys in the cookie, encrypted for the server alone, so that nothing is kept. That is for servers
 * without connections: here each has a socket anyway, which takes far more. And such a cookie is good on any connection,
 * so that a recorded session could be replayed as a whole until the cookie is too old. (libzmq keeps both keys, too.)
 */

import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as CurveKeys from "../CurveKeys.ts"
import type { Cipher, CurveServer } from "../CurveServer.ts"

/** A step of the handshake that cannot be taken. */
export type Refused =
  /** The peer expects a broker with another key. */
  | "wrong key"
  /** It does not speak CURVE. */
  | "malformed"

/** What the peer has shown with its `INITIATE`. */
export interface Initiated {
  /** The peer's public key, 64 hexadecimal digits. */
  readonly key: string
  /** What a peer without encryption says with `READY`. */
  readonly metadata: Buffer
}

/** The encryption of one connection. */
export interface Curve {
  /** Reads `HELLO`, and returns the body of `WELCOME`. */
  readonly welcome: (hello: Buffer) => Result.Result<Buffer, Refused>
  /** Reads `INITIATE`. */
  readonly initiate: (body: Buffer) => Result.Result<Initiated, Refused>
  /** The body of `READY`. */
  readonly ready: (metadata: Uint8Array) => Buffer
  /** Encrypts a frame with its flags, after `initiate`. */
  readonly seal: (flags: number, frame: Uint8Array) => Buffer
  /** The flags and the frame that a peer has sealed; `undefined` if it has not, or it is not a new one. */
  readonly open: (message: Buffer) => Buffer | undefined
}

/** What is kept between `HELLO` and `INITIATE`. */
interface Begun {
  readonly own: Crypto.KeyObject
  readonly peer: Buffer
  readonly cookie: Buffer
}

/** Makes it, before the handshake. */
export const make = ({ cipher, publicKey, secretKey }: CurveServer): Curve => {
  const numbers = makeNumbers()
  let begun: Begun | undefined
  let key: Uint8Array | undefined

  const sealed = (prefix: string, message: Uint8Array): Buffer => {
    const short = numbers.next()
    return Buffer.concat([short, cipher.seal(message, Buffer.concat([Buffer.from(prefix), short]), key!)])
  }
  return {
    welcome: (hello) => {
      if (hello.length !== 194 || hello[0] !== 1 || hello[1] !== 0 || begun !== undefined || key !== undefined) {
        return Result.fail("malformed")
      }
      const [client, short, box] = [hello.subarray(74, 106), hello.subarray(106, 114), hello.subarray(114)]
      const shared = exchange(cipher, secretKey, client)
      const signature = shared && cipher.open(box, nonceOf("CurveZMQHELLO---", short), shared)
      if (shared === undefined || signature == null || !numbers.isNew(short)) return Result.fail("wrong key")
      const own = Crypto.generateKeyPairSync("x25519").privateKey
      const [cookie, long] = [Crypto.randomBytes(96), Crypto.randomBytes(16)]
      begun = { own, peer: Buffer.from(client), cookie }
      const message = Buffer.concat([CurveKeys.publicOf(own), cookie])
      return Result.succeed(Buffer.concat([long, cipher.seal(message, nonceOf("WELCOME-", long), shared)]))
    },
    initiate: (body) => {
      if (begun === undefined || body.length < 248) return Result.fail("malformed")
      const { cookie, own, peer } = begun
      const short = body.subarray(96, 104)
      if (!Crypto.timingSafeEqual(body.subarray(0, 96), cookie) || !numbers.isNew(short)) {
        return Result.fail("malformed")
      }
      const shared = exchange(cipher, own, peer)
      const opened = shared && cipher.open(body.subarray(104), nonceOf("CurveZMQINITIATE", short), shared)
      if (shared === undefined || opened == null) return Result.fail("malformed")
      const initiated = vouched(cipher, own, Buffer.from(opened), Buffer.concat([peer, publicKey]))
      if (initiated === undefined) return Result.fail("malformed")
      key = shared
      begun = undefined
      return Result.succeed(initiated)
    },
    ready: (metadata) => sealed("CurveZMQREADY---", metadata),
    seal: (flags, frame) => {
      const plain = Buffer.allocUnsafe(1 + frame.length)
      plain[0] = flags
      plain.set(frame, 1)
      return Buffer.concat([messageName, sealed("CurveZMQMESSAGES", plain)])
    },
    open: (message) => {
      if (key === undefined || message.length < 33 || !message.subarray(0, 8).equals(messageName)) return undefined
      const short = message.subarray(8, 16)
      const opened = cipher.open(message.subarray(16), nonceOf("CurveZMQMESSAGEC", short), key)
      return opened === null || !numbers.isNew(short)
        ? undefined
        : Buffer.from(opened.buffer, opened.byteOffset, opened.length)
    }
  }
}

// The numbers of what is sent, and of what is received.
const makeNumbers = () => {
  let received = -1n
  let sent = 0n
  return {
    /** Whether its number is above those before. */
    isNew: (bytes: Buffer): boolean => {
      const number = bytes.readBigUInt64BE()
      if (number <= received) return false
      received = number
      return true
    },
    next: (): Buffer => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64BE(++sent)
      return bytes
    }
  }
}

const messageName = Buffer.from("\x07MESSAGE")

const nonceOf = (prefix: string, rest: Uint8Array): Uint8Array => Buffer.concat([Buffer.from(prefix), rest])

// The key that two sides share. `undefined` for a public key that would give it away, and for another form of a key: the curve
// ignores its highest bit, which no key has that was made. (Source: RFC 7748, section 5.)
const exchange = (cipher: Cipher, secretKey: Crypto.KeyObject, publicKey: Uint8Array): Uint8Array | undefined => {
  if (publicKey[31]! >= 128) return undefined
  const shared = Result.try(() =>
    Crypto.diffieHellman({ privateKey: secretKey, publicKey: CurveKeys.publicKeyOf(publicKey) })
  )
  return Result.isSuccess(shared) ? cipher.keyOf(shared.success) : undefined
}

// The peer's own key, if it vouches with it for the key of this connection.
const vouched = (
  cipher: Cipher,
  own: Crypto.KeyObject,
  opened: Buffer,
  expected: Uint8Array
): Initiated | undefined => {
  const client = opened.subarray(0, 32)
  const shared = exchange(cipher, own, client)
  const vouch = shared &&
    cipher.open(opened.subarray(48, 128), nonceOf("VOUCH---", opened.subarray(32, 48)), shared)
  if (vouch == null || !Buffer.from(vouch).equals(expected)) return undefined
  return { key: client.toString("hex"), metadata: opened.subarray(128) }
}
