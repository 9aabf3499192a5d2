/**
 * ZMTP 3, the bytes of ZeroMQ on a connection, as a `ROUTER` reads and writes them.
 *
 * Everything here is bytes and values, without sockets. A parser takes bytes in chunks of any size, holds at most one
 * unfinished message of at most `limit` bytes, and returns one part at a time. A larger message is reported once and skipped.
 * Nothing throws. (Source: ZeroMQ RFC 23 and 37.)
 */

import * as Input from "./input.ts"

/** The first byte of every ZMTP connection; no other protocol that a backend may speak begins with it. */
export const signature = 0xff

/** Whether and how a connection is encrypted. */
export type Mechanism = "NULL" | "CURVE"

const makeGreeting = (mechanism: Mechanism): Uint8Array =>
  Buffer.concat([
    Buffer.from([signature, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1]),
    Buffer.from(mechanism.padEnd(20, "\0")),
    // As the server of the mechanism.
    Buffer.from([mechanism === "CURVE" ? 1 : 0]),
    Buffer.alloc(31)
  ])

/** What both sides send first, without encryption: version 3.1, the mechanism `NULL`. */
export const greeting: Uint8Array = makeGreeting("NULL")

/** The same with encryption. */
export const curveGreeting: Uint8Array = makeGreeting("CURVE")

/** How much of a greeting is the same for every mechanism. */
export const commonGreeting = 12

/** A part of the input. */
export type Part =
  | { readonly _tag: "Greeting"; readonly mechanism: Mechanism }
  | { readonly _tag: "Command"; readonly name: string; readonly body: Buffer }
  | { readonly _tag: "Message"; readonly frames: ReadonlyArray<Buffer> }
  /** A message has too many frames or bytes. `frames` are those before; the rest is skipped. */
  | { readonly _tag: "TooLarge"; readonly frames: ReadonlyArray<Buffer>; readonly isFrame: boolean }
  /** Nothing that follows can be read. `code` is told to the peer instead of the problem. */
  | { readonly _tag: "Malformed"; readonly problem: string; readonly code?: string }

/** Parses the input of one peer. */
export interface Parser {
  /** Takes the next bytes. They must not change until they are read. */
  readonly feed: (chunk: Buffer) => void
  /** Returns the next part; `undefined` if it is not complete yet. */
  readonly next: () => Part | undefined
  /** The largest message in bytes from now on, including 16 for every frame. */
  limit: number
}

/** How many frames a message may have. */
const maxFrames = 64

/** The overhead of a frame beside its bytes. */
const frameOverhead = 16

/** The largest command, in bytes. */
const maxCommand = 1024

const more = 1
const long = 2
const command = 4

/** Makes a parser of a connection that may have these mechanisms, or of what follows the greeting if there are none. */
export const makeParser = (limit: number, mechanisms: ReadonlyArray<Mechanism> = ["NULL"]): Parser => {
  const input = Input.make()
  const frames = makeFrameReader(input)
  let hasGreeting = mechanisms.length === 0
  let isMalformed = false

  const readGreeting = (): Part | undefined => {
    const problem = greetingProblem(input)
    if (problem !== undefined) return malformed(problem)
    if (input.length() < greeting.length) return undefined
    const mechanism = mechanismIn(input)
    const known = mechanisms.find((one) => one === mechanism)
    if (known === undefined) return malformed("it wants to encrypt or to log in, which this port does not")
    input.drop(greeting.length)
    hasGreeting = true
    return { _tag: "Greeting", mechanism: known }
  }
  const self: Parser = {
    feed: input.feed,
    next: () => {
      const part = isMalformed ? undefined : hasGreeting ? frames.next(self.limit) : readGreeting()
      if (part === undefined) input.compact()
      isMalformed ||= part?._tag === "Malformed"
      return part
    },
    limit
  }
  return self
}

const malformed = (problem: string): Part => ({ _tag: "Malformed", problem })

// Reads commands and messages. After a message that is too large was reported, its bytes are dropped.
const makeFrameReader = (input: Input.Input) => {
  let message: Array<Buffer> = []
  let size = 0
  const skipped = makeSkipped(input)

  const end = (): ReadonlyArray<Buffer> => {
    const frames = message
    message = []
    size = 0
    return frames
  }
  const readFrame = (flags: number, header: number, length: number, limit: number): Part | undefined => {
    const isLast = (flags & more) === 0
    const isTooLarge = length + frameOverhead > limit
    if (skipped.isSkipping() || isTooLarge || size + length + frameOverhead > limit || message.length === maxFrames) {
      input.drop(header)
      return skipped.begin(length, isLast) ? { _tag: "TooLarge", frames: end(), isFrame: isTooLarge } : undefined
    }
    if (input.length() < header + length) return undefined
    message.push(input.take(header, length))
    size += length + frameOverhead
    return isLast ? { _tag: "Message", frames: end() } : undefined
  }
  const next = (limit: number): Part | undefined => {
    for (;;) {
      if (!skipped.skip()) return undefined
      const available = input.length()
      if (available < 2) return undefined
      const flags = input.byte(0)
      const isCommand = (flags & command) !== 0
      if (flags > 7 || isCommand && (flags & more) !== 0) return malformed("a frame has unknown flags")
      const header = (flags & long) === 0 ? 2 : 9
      if (available < header) return undefined
      const length = header === 2 ? input.byte(1) : input.long(1)
      const part = isCommand ? readCommand(input, header, length) : readFrame(flags, header, length, limit)
      // Nothing was consumed, so the rest has not arrived yet.
      if (part !== undefined || input.length() === available) return part
    }
  }
  return { next }
}

// The rest of a message that is too large.
const makeSkipped = (input: Input.Input) => {
  let isSkipping = false
  // Of the frame that is being skipped.
  let left = 0
  let isLast = false
  return {
    isSkipping: () => isSkipping,
    /** Skips a frame, and returns whether it is the first of the message that is skipped. */
    begin: (length: number, isLastFrame: boolean): boolean => {
      const isFirst = !isSkipping
      isSkipping = true
      left = length
      isLast = isLastFrame
      return isFirst
    },
    /** Drops what has arrived of the frame, and returns whether that was all. */
    skip: (): boolean => {
      if (left > 0) left -= input.drop(left)
      if (left > 0) return false
      if (isLast) isSkipping = isLast = false
      return true
    }
  }
}

const readCommand = (input: Input.Input, header: number, length: number): Part | undefined => {
  if (length > maxCommand) return malformed("a command is too large")
  return input.length() < header + length ? undefined : commandOf(input.take(header, length))
}

const greetingProblem = (input: Input.Input): string | undefined => {
  const length = input.length()
  if (length > 9 && (input.byte(9) & 1) === 0) return "the greeting is not that of ZeroMQ"
  if (length > 10 && input.byte(10) < 3) return "it speaks an older ZeroMQ, before version 4.0"
  return undefined
}

const mechanismIn = (input: Input.Input): string =>
  input.peek(commonGreeting, 20).toString("latin1").replace(/\0+$/, "")

const commandOf = (bytes: Buffer): Part => {
  const length = bytes[0] ?? 0
  return { _tag: "Command", name: bytes.toString("latin1", 1, 1 + length), body: bytes.subarray(1 + length) }
}

/** The properties of a `READY` command; `undefined` if they are malformed. Names are in lower case. */
export const propertiesOf = (body: Buffer): ReadonlyMap<string, Buffer> | undefined => {
  const properties = new Map<string, Buffer>()
  let at = 0
  while (at < body.length) {
    const nameEnd = at + 1 + body[at]!
    if (nameEnd + 4 > body.length) return undefined
    const end = nameEnd + 4 + body.readUInt32BE(nameEnd)
    if (end > body.length) return undefined
    properties.set(body.toString("latin1", at + 1, nameEnd).toLowerCase(), body.subarray(nameEnd + 4, end))
    at = end
  }
  return properties
}

/** The bytes of a command. */
export const encodeCommand = (name: string, body: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from([command, 1 + name.length + body.length, name.length]), Buffer.from(name), body])

/** The properties of a `READY` command as its body. */
export const encodeProperties = (properties: Record<string, string>): Uint8Array =>
  Buffer.concat(
    Object.entries(properties).map(([name, value]) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(value.length)
      return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), length, Buffer.from(value)])
    })
  )

/** Calls `onFrame` with each of some whole frames, and its flags without that of a long one. */
export const forEachFrame = (frames: Uint8Array, onFrame: (flags: number, frame: Buffer) => void): void => {
  const bytes = Buffer.from(frames.buffer, frames.byteOffset, frames.length)
  for (let at = 0; at < bytes.length;) {
    const isLong = (bytes[at]! & long) !== 0
    const from = at + (isLong ? 9 : 2)
    const to = from + (isLong ? bytes.readUInt32BE(at + 1) * 2 ** 32 + bytes.readUInt32BE(at + 5) : bytes[at + 1]!)
    onFrame(bytes[at]! & ~long, bytes.subarray(from, to))
    at = to
  }
}

/** The bytes of one frame with these flags. */
export const encodeFrame = (flags: number, frame: Uint8Array): Buffer => {
  const bytes = Buffer.allocUnsafe(sizeOf([frame]))
  write(bytes, 0, [frame])
  bytes[0]! |= flags
  return bytes
}

/** How many bytes a message has on the wire. */
export const sizeOf = (frames: ReadonlyArray<string | Uint8Array>): number => {
  let size = 0
  for (const frame of frames) {
    const length = typeof frame === "string" ? Buffer.byteLength(frame) : frame.length
    size += length + (length > 255 ? 9 : 2)
  }
  return size
}

/** Writes a message at `at`, where there must be room for it, and returns where it ends. */
export const write = (buffer: Buffer, at: number, frames: ReadonlyArray<string | Uint8Array>): number => {
  for (let index = 0; index < frames.length; index++) {
    const frame = frames[index]!
    const length = typeof frame === "string" ? Buffer.byteLength(frame) : frame.length
    const flags = index + 1 < frames.length ? more : 0
    if (length > 255) {
      buffer[at] = flags | long
      buffer.writeUInt32BE(Math.floor(length / 2 ** 32), at + 1)
      buffer.writeUInt32BE(length % 2 ** 32, at + 5)
      at += 9
    } else {
      buffer[at] = flags
      buffer[at + 1] = length
      at += 2
    }
    if (typeof frame === "string") buffer.write(frame, at)
    else buffer.set(frame, at)
    at += length
  }
  return at
}
