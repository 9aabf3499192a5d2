/**
 * Between the bytes of a ZeroMQ connection and its parts: with CURVE what is read is decrypted, and what is written is
 * encrypted. Without it they are the same.
 *
 * If the broker has a key, the peer decides: the broker's greeting waits for the peer's, and has the same mechanism. The end
 * of an encrypted handshake is read as the `READY` of one without.
 */

import * as Result from "effect/Result"
import type { CurveServer } from "../CurveServer.ts"
import * as Curve from "./curve.ts"
import * as Zmtp from "./zmtp.ts"

/** The codec of one connection. */
export interface Codec extends Pick<Zmtp.Parser, "feed" | "next"> {
  /** Sets the largest message in bytes from now on. */
  readonly limitTo: (limit: number) => void
  /** The bytes of a command. */
  readonly command: (name: string, body: Uint8Array) => Uint8Array
  /** The bytes of whole frames. */
  readonly encode: (frames: Uint8Array) => Uint8Array
  /** The public key that the peer has shown, 64 hexadecimal digits. */
  readonly peerKey: () => string | undefined
}

/** How many bytes larger a frame is when it is encrypted. */
const overhead = 33

// The flags of frames, and of what is encrypted in them.
const more = 1
const command = 4
const sealedCommand = 2

/** Makes it, and writes its greeting. */
export const make = (limit: number, server: CurveServer | undefined, write: (bytes: Uint8Array) => void): Codec => {
  const outer = Zmtp.makeParser(limit, server === undefined ? ["NULL"] : ["NULL", "CURVE"])
  let curve: Encryption | undefined
  write(server === undefined ? Zmtp.greeting : Zmtp.greeting.subarray(0, Zmtp.commonGreeting))

  const greet = (mechanism: Zmtp.Mechanism): void => {
    if (server === undefined) return
    const greeting = mechanism === "CURVE" ? Zmtp.curveGreeting : Zmtp.greeting
    write(greeting.subarray(Zmtp.commonGreeting))
    if (mechanism === "CURVE") curve = makeEncryption(Curve.make(server), limit, write)
  }
  return {
    feed: outer.feed,
    next: () => {
      for (;;) {
        const decrypted = curve?.next()
        if (decrypted !== undefined) return decrypted
        const part = outer.next()
        if (part?._tag === "Greeting") greet(part.mechanism)
        const read = part === undefined || part._tag === "Greeting" || curve === undefined ? part : curve.read(part)
        if (read !== undefined || part === undefined) return read
      }
    },
    limitTo: (value) => {
      outer.limit = curve === undefined ? value : value + overhead
      curve?.limitTo(value)
    },
    command: (name, body) => curve === undefined ? Zmtp.encodeCommand(name, body) : curve.command(name, body),
    encode: (frames) => curve === undefined ? frames : curve.encode(frames),
    peerKey: () => curve?.peerKey()
  }
}

type Encryption = ReturnType<typeof makeEncryption>

const makeEncryption = (curve: Curve.Curve, limit: number, write: (bytes: Uint8Array) => void) => {
  const inner = Zmtp.makeParser(limit, [])
  let peerKey: string | undefined
  const encode = (frames: Uint8Array): Buffer => {
    const encrypted: Array<Buffer> = []
    Zmtp.forEachFrame(frames, (flags, frame) => {
      const sealed = curve.seal((flags & more) | ((flags & command) === 0 ? 0 : sealedCommand), frame)
      encrypted.push(Zmtp.encodeFrame(0, sealed))
    })
    return Buffer.concat(encrypted)
  }
  const readCommand = (name: string, body: Buffer): Zmtp.Part | undefined => {
    if (name === "HELLO") {
      const welcome = curve.welcome(body)
      if (Result.isFailure(welcome)) return refused[welcome.failure]
      write(Zmtp.encodeCommand("WELCOME", welcome.success))
      return undefined
    }
    const initiated = name === "INITIATE" ? curve.initiate(body) : Result.fail("malformed" as const)
    if (Result.isFailure(initiated)) return refused[initiated.failure]
    peerKey = initiated.success.key
    return { _tag: "Command", name: "READY", body: initiated.success.metadata }
  }
  return {
    next: inner.next,
    limitTo: (value: number): void => {
      inner.limit = value
    },
    /** The part that is to be handled, if any: mostly a frame is decrypted, and is what `next` returns. */
    read: (part: Zmtp.Part): Zmtp.Part | undefined => {
      if (part._tag === "Malformed" || part._tag === "TooLarge" && peerKey !== undefined) return part
      if (part._tag === "Command") return readCommand(part.name, part.body)
      const opened = part._tag === "Message" && part.frames.length === 1 ? curve.open(part.frames[0]!) : undefined
      if (opened === undefined) return refused.malformed
      const flags = opened[0]!
      inner.feed(Zmtp.encodeFrame((flags & more) | ((flags & sealedCommand) === 0 ? 0 : command), opened.subarray(1)))
      return undefined
    },
    command: (name: string, body: Uint8Array): Uint8Array =>
      name === "READY"
        ? Zmtp.encodeCommand(name, curve.ready(body))
        : peerKey === undefined
        ? Zmtp.encodeCommand(name, body)
        : encode(Zmtp.encodeCommand(name, body)),
    encode,
    peerKey: () => peerKey
  }
}

const refused: Readonly<Record<Curve.Refused, Zmtp.Part>> = {
  // What libzmq reports as a refusal, and not as an error of the protocol.
  "wrong key": { _tag: "Malformed", problem: "it expects a broker with another key", code: "400" },
  malformed: { _tag: "Malformed", problem: "its encryption is not that of this connection" }
}
