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
 * The largest message, in bytes, unless told otherwise: 1 MiB. Either side refuses to send and to read more.
 *
 * @since 0.1.0
 */
export const defaultMaxMessageSize = 1_048_576

/**
 * The bytes of a message over classic TCP. The frames must be free of line breaks, see `check`.
 *
 * @since 0.1.0
 */
export const encode = (frames: Frames): Uint8Array => encoder.encode(`${frames.join("\n")}\n\r\n\r\n`)

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
  let size = 4
  for (let index = 0; index < frames.length; index++) {
    const frame = frames[index]!
    const refuse = (detail: string) =>
      Result.fail(new MessageEncodeError({ argument: `argument ${index} of ${frames[0]}`, detail }))
    if (options.lines && /[\r\n]/.test(frame)) return refuse("it holds a line break, which classic TCP cannot carry")
    if (!frame.isWellFormed()) return refuse("it holds half of a surrogate pair, which is not Unicode text")
    size += byteLength(frame, options.maxMessageSize) + 1
  }
  return size <= options.maxMessageSize ? Result.succeed(frames) : Result.fail(
    new MessageEncodeError({
      argument: `${frames[0]}`,
      detail: `it has ${size} bytes, the most is ${options.maxMessageSize}`
    })
  )
}

// A UTF-16 unit is at most three bytes of UTF-8, so most frames are known to fit without being encoded.
const byteLength = (text: string, limit: number): number =>
  text.length * 3 < limit / 2 ? text.length : encoder.encode(text).length

const encoder = new TextEncoder()
