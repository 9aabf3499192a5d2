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
  /** Takes the next bytes, to be read message by message. They are not to be changed before `next` has given `undefined`. */
  readonly feed: (chunk: Uint8Array) => void
  /** Gives the next message; `undefined` if it is not complete yet. */
  readonly next: () => Result.Result<Frames | undefined, MessageDecodeError>
}

/**
 * Makes a parser. `maxMessageSize` is in bytes, default 1 MiB.
 *
 * @since 0.1.0
 */
export const make = (maxMessageSize: number = defaultMaxMessageSize): FrameParser => {
  let buffer: Uint8Array = none
  let end = 0
  // Mostly a chunk is read before the next comes, and never copied.
  let isOwn = false
  let messageStart = 0
  // Where the line being read begins, where its end is looked for, and whether the line before it was a lone "\r".
  let lineStart = 0
  let searched = 0
  let afterBlank = false
  let hasFailed = false

  const failure = Result.fail(new MessageDecodeError({ detail: `it is larger than ${maxMessageSize} bytes` }))
  const fail = () => {
    hasFailed = true
    buffer = none
    return failure
  }

  const feed = (chunk: Uint8Array) => {
    if (hasFailed) return
    const left = end - messageStart
    if (!isOwn || end + chunk.length > buffer.length) {
      const larger = left === 0 ? chunk : new Uint8Array(Math.max(left + chunk.length, left * 2))
      if (left > 0) larger.set(buffer.subarray(messageStart, end))
      lineStart -= messageStart
      searched -= messageStart
      messageStart = 0
      isOwn = left > 0
      buffer = larger
      end = left
    }
    if (isOwn) buffer.set(chunk, end)
    end += chunk.length
  }

  // Most lines are short, and cheaper to scan here than by `indexOf`.
  const newlineFrom = (start: number): number => {
    const near = Math.min(start + 64, end)
    for (let at = start; at < near; at++) {
      if (buffer[at] === 0x0a) return at
    }
    return near === end ? -1 : buffer.subarray(0, end).indexOf(0x0a, near)
  }
  const next = (): Result.Result<Frames | undefined, MessageDecodeError> => {
    if (hasFailed) return failure
    for (;;) {
      const newline = newlineFrom(searched)
      if (newline === -1) break
      const isBlank = newline === lineStart + 1 && buffer[lineStart] === 0x0d
      const isEnd = isBlank && afterBlank
      const lastStart = lineStart
      afterBlank = isBlank && !afterBlank
      lineStart = newline + 1
      searched = newline + 1
      if (!isEnd) continue
      if (newline + 1 - messageStart > maxMessageSize) return fail()
      const frames = toFrames(buffer.subarray(messageStart, lastStart - 2))
      messageStart = newline + 1
      return Result.succeed(frames)
    }
    searched = end
    if (end - messageStart > maxMessageSize) return fail()
    if (messageStart > 0 || !isOwn) release()
    return incomplete
  }
  // What is left over moves into a buffer of its size, so that idle connections hold nothing.
  const release = () => {
    buffer = messageStart === end ? none : buffer.slice(messageStart, end)
    isOwn = messageStart < end
    end -= messageStart
    lineStart -= messageStart
    searched -= messageStart
    messageStart = 0
  }

  const push = (chunk: Uint8Array): Result.Result<ReadonlyArray<Frames>, MessageDecodeError> => {
    feed(chunk)
    const messages: Array<Frames> = []
    for (;;) {
      const message = next()
      if (Result.isFailure(message)) return Result.fail(message.failure)
      if (message.success === undefined) return Result.succeed(messages)
      messages.push(message.success)
    }
  }
  return { push, feed, next }
}

const none = new Uint8Array(0)

const incomplete = Result.succeed(undefined)

// The bytes of a message without its end: each frame with its "\n".
const toFrames = (bytes: Uint8Array): Frames => bytes.length === 0 ? [] : decoder.decode(bytes).slice(0, -1).split("\n")

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
