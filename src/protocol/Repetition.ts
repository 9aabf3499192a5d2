/**
 * Retries of requests whose response did not arrive.
 *
 * Our broker knows every request by an idempotency key: the id of the connection it came by, and its own name there, which
 * its response echoes. A retry names both, in frames of its own before the command: `AG <connection> <message>`. The broker
 * gives the response that it has given already, or carries the request out if it never arrived. A broker that does not know
 * the word refuses it, so nothing is ever done twice. A key is good for its own request only: with another command it is
 * refused.
 *
 * @since 0.1.0
 */

import type { Frames } from "./Frame.ts"
import type * as Status from "./Status.ts"

/**
 * The idempotency key of a request: by which connection it was sent first, and as what.
 *
 * @since 0.1.0
 */
export interface Name {
  readonly connection: string
  readonly message: string
}

/**
 * The frames of a retry.
 *
 * @since 0.1.0
 */
export const encode = ({ connection, message }: Name, frames: Frames): Frames => [again, connection, message, ...frames]

/**
 * Whether a request is a retry.
 *
 * @since 0.1.0
 */
export const isRepeated = (frames: Frames): boolean => frames[0] === again

/**
 * The idempotency key of a retry.
 *
 * @since 0.1.0
 */
export const nameOf = ([_, connection = "", message = ""]: Frames): Name => ({ connection, message })

/**
 * The frames of the request that is retried.
 *
 * @since 0.1.0
 */
export const firstOf = (frames: Frames): Frames => frames.slice(3)

/**
 * The status of a retry if the broker cannot know whether the request was carried out: it has forgotten it, or was
 * restarted.
 *
 * @since 0.1.0
 */
export const forgotten = 408 satisfies Status.Code

/**
 * Whether a command may be carried out twice without harm, so that its response need not be recorded.
 *
 * @since 0.1.0
 */
export { isHarmless } from "./Command.ts"

/**
 * Whether a key can be one of ours: a connection's id is a uuid, and names of messages are short.
 *
 * @since 0.1.0
 */
export const isName = ({ connection, message }: Name): boolean =>
  message !== "" && message.length <= 16 && /^[\w-]{36}$/.test(connection)

/**
 * Tells a request from others under the same key: a number of its command and of a few characters of each of its
 * arguments. Cheap, since it is asked for with every request that is not safe to repeat. What may follow the arguments, such
 * as a span, does not count.
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

const again = "AG"
