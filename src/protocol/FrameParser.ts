/**
 * Reads messages from the bytes of classic TCP, however they are cut into chunks.
 *
 * A parser holds at most one unfinished message of at most `maxMessageSize` bytes; beyond that it fails, and goes on
 * failing. Bytes that are not UTF-8 become U+FFFD. Nothing ever throws.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import { defaultMaxMessageSize, type Frames } from "./Frame.ts"
import { MessageDecodeError } from "./KosmonautError.ts"

/**
 * An incremental parser, one for each connection.
 *
 * @since 0.1.0
 */
export interface FrameParser {
  /** Takes the next bytes and gives the messages they complete, in order. */
  readonly push: (chunk: Uint8Array) => Result.Result<ReadonlyArray<Frames>, MessageDecodeError>
}

/**
 * Makes a parser. `maxMessageSize` is in bytes, default 1 MiB.
 *
 * @since 0.1.0
 */
export const make = (maxMessageSize: number = defaultMaxMessageSize): FrameParser => {
  let buffer: Uint8Array = new Uint8Array(0)
  let length = 0
  // Where the line being read begins, and whether the line before it was a lone "\r".
  let lineStart = 0
  let afterBlank = false
  let hasFailed = false

  const failure = Result.fail(new MessageDecodeError({ detail: `it is larger than ${maxMessageSize} bytes` }))
  const fail = () => {
    hasFailed = true
    buffer = new Uint8Array(0)
    return failure
  }

  const append = (chunk: Uint8Array) => {
    if (length + chunk.length > buffer.length) {
      const larger = new Uint8Array(Math.max(length + chunk.length, buffer.length * 2))
      larger.set(buffer.subarray(0, length))
      buffer = larger
    }
    buffer.set(chunk, length)
    length += chunk.length
  }

  // Most lines are short, and cheaper to look through than to ask about.
  const newlineFrom = (start: number): number => {
    const near = Math.min(start + 64, length)
    for (let at = start; at < near; at++) {
      if (buffer[at] === 0x0a) return at
    }
    return near === length ? -1 : buffer.subarray(0, length).indexOf(0x0a, near)
  }

  const push = (chunk: Uint8Array): Result.Result<ReadonlyArray<Frames>, MessageDecodeError> => {
    if (hasFailed) return failure
    let searched = length
    append(chunk)
    const messages: Array<Frames> = []
    let messageStart = 0
    for (;;) {
      const newline = newlineFrom(searched)
      if (newline === -1) break
      const isBlank = newline === lineStart + 1 && buffer[lineStart] === 0x0d
      if (isBlank && afterBlank) {
        if (newline + 1 - messageStart > maxMessageSize) return fail()
        messages.push(toFrames(buffer.subarray(messageStart, lineStart - 2)))
        messageStart = newline + 1
      }
      afterBlank = isBlank && !afterBlank
      lineStart = newline + 1
      searched = newline + 1
    }
    if (length - messageStart > maxMessageSize) return fail()
    // What is left over moves into a buffer of its size, so that idle connections hold nothing.
    if (messageStart === 0) return Result.succeed(messages)
    buffer = buffer.slice(messageStart, length)
    length -= messageStart
    lineStart -= messageStart
    return Result.succeed(messages)
  }

  return { push }
}

// The bytes of a message without its end: each frame with its "\n".
const toFrames = (bytes: Uint8Array): Frames => bytes.length === 0 ? [] : decoder.decode(bytes).slice(0, -1).split("\n")

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
