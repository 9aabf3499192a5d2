/**
 * Messages as lists of frames, and the bytes they are over classic TCP.
 *
 * Over ZeroMQ a frame is a frame. Over TCP every frame ends with `\n` and the message with `\r\n\r\n`, so a frame there
 * can hold no line break. Frames are Unicode text, UTF-8 on the wire.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { MessageEncodeError } from "./KosmonautError.ts"

/**
 * A message: a command and its arguments, with or without an envelope before them.
 *
 * @since 0.1.0
 */
export type Frames = ReadonlyArray<string>

/**
 * The largest message, in bytes, by default 1 MiB. Either side refuses to send and to read more.
 *
 * @since 0.1.0
 */
export const defaultMaxMessageSize = 1_048_576

/**
 * How much of a message's limit is reserved for the envelope that a transport puts around a command: 256 bytes, since an identity
 * has at most 255.
 *
 * @since 0.1.0
 */
export const envelopeSize = 256

/**
 * The bytes of a message over classic TCP. The frames must be free of line breaks, see `check`.
 *
 * @since 0.1.0
 */
export const encode = (frames: Frames): Uint8Array => encoder.encode(textOf(frames))

/**
 * The text of a message over classic TCP, whose bytes are UTF-8.
 *
 * @since 0.1.0
 */
export const textOf = (frames: Frames): string => {
  let text = ""
  for (const frame of frames) text += `${frame}\n`
  return `${text}\r\n\r\n`
}

/**
 * Whether a message can travel: it is well-formed Unicode, at most `maxMessageSize` bytes, and, where frames are `lines`,
 * free of line breaks. The error names the frame, the command being frame 0.
 *
 * @since 0.1.0
 */
export const check = (
  frames: Frames,
  options: { readonly maxMessageSize: number; readonly lines: boolean }
): Result.Result<Frames, MessageEncodeError> => {
  for (let index = 0; index < frames.length; index++) {
    const frame = frames[index]!
    if (!suspicious.test(frame)) continue
    if (options.lines && /[\r\n]/.test(frame)) {
      return refuse(frames, index, "it holds a line break, which classic TCP cannot carry")
    }
    if (!frame.isWellFormed()) {
      return refuse(frames, index, "it holds half of a surrogate pair, which is not Unicode text")
    }
  }
  const size = sizeOf(frames, options.maxMessageSize)
  return size <= options.maxMessageSize ? Result.succeed(frames) : Result.fail(
    new MessageEncodeError({
      argument: `the message ${nameOf(frames)}`,
      detail: `it has ${size} bytes, the most is ${options.maxMessageSize}`
    })
  )
}

/**
 * How many bytes a text has as UTF-8.
 *
 * @since 0.1.0
 */
export const byteLength = (text: string): number =>
  // Most texts are short and ASCII, and need not be written to be counted.
  text.length < 1000 && ascii.test(text) ? text.length : encoder.encode(text).length

const ascii = /^[\0-\x7f]*$/

// One look is enough for almost every frame.
const suspicious = /[\r\n\ud800-\udfff]/

const refuse = (frames: Frames, index: number, detail: string) =>
  Result.fail(new MessageEncodeError({ argument: `argument ${index} of ${nameOf(frames)}`, detail }))

const nameOf = (frames: Frames): string | undefined => frames[0]?.slice(0, 8)

// Every frame has an end, and the message too. A code unit has at most three bytes: only what may be too much is counted
// exactly.
const sizeOf = (frames: Frames, most: number): number => {
  let units = 4
  for (const frame of frames) units += frame.length + 1
  if (units * 3 <= most) return units
  let size = 4
  for (const frame of frames) size += byteLength(frame) + 1
  return size
}

const encoder = new TextEncoder()
