/**
 * Retries of requests whose response did not arrive.
 *
 * Our broker knows every request by an idempotency key: the id of the connection on which it was first sent, and its message
 * id there, which the response echoes. A retry sends both in frames before the command: `AG <connection> <message>`. The
 * broker returns the response of the first attempt, or executes the request if it never arrived. A broker that does not know
 * `AG` rejects it, so a request is never executed twice. A key is valid for its own request only: with another command it
 * is rejected.
 *
 * @since 0.1.0
 */

import type { Frames } from "./Frame.ts"
import type * as Status from "./Status.ts"

/**
 * The idempotency key of a request: the connection on which it was first sent, and its message id there.
 *
 * @since 0.1.0
 */
export interface Key {
  readonly connection: string
  readonly message: string
}

/**
 * The frames of a retry.
 *
 * @since 0.1.0
 */
export const encode = ({ connection, message }: Key, frames: Frames): Frames => [word, connection, message, ...frames]

/**
 * Whether a request is a retry.
 *
 * @since 0.1.0
 */
export const isRetry = (frames: Frames): boolean => frames[0] === word

/**
 * The idempotency key of a retry.
 *
 * @since 0.1.0
 */
export const keyOf = ([_, connection = "", message = ""]: Frames): Key => ({ connection, message })

/**
 * The frames of the request that is retried.
 *
 * @since 0.1.0
 */
export const requestOf = (frames: Frames): Frames => frames.slice(3)

/**
 * The status of a retry if the broker cannot know whether the request was executed, because its response is no longer cached
 * or the broker was restarted.
 *
 * @since 0.1.0
 */
export const outcomeUnknown = 408 satisfies Status.Code

/**
 * Whether a key has the form of our own keys: the id of a connection is a uuid, and message ids are short.
 *
 * @since 0.1.0
 */
export const isKey = ({ connection, message }: Key): boolean =>
  message !== "" && message.length <= 16 && /^[\w-]{36}$/.test(connection)

/**
 * A number that differs for different requests with the same key. It samples the command and its first `count` frames, not
 * what may follow the arguments, such as a span. It is cheap, because it is computed for every request that is not
 * idempotent.
 *
 * @since 0.1.0
 */
export const fingerprint = (frames: Frames, count: number): number => {
  let print = 17
  for (let index = 0; index < count && index < frames.length; index++) {
    const frame = frames[index]!
    const { length } = frame
    print = Math.imul(print, 31) + length | 0
    const step = (length >> 2) + 1
    for (let at = 0; at < length; at += step) print = Math.imul(print, 31) + frame.charCodeAt(at) | 0
  }
  return print
}

/**
 * A number that differs for different texts in this order, but for one in four billion. It reads every character.
 *
 * @since 0.1.0
 */
export const digest = (texts: ReadonlyArray<string>): number => {
  // (FNV-1a.)
  let digest = 0x811c9dc5
  for (const text of texts) {
    for (let at = 0; at < text.length; at++) digest = Math.imul(digest ^ text.charCodeAt(at), 0x01000193)
    digest = Math.imul(digest ^ text.length, 0x01000193)
  }
  return digest
}

const word = "AG"
