/**
 * The limit of messages that the broker sends to browsers.
 */

import { byteLength } from "../../../protocol/Frame.ts"
import { BadRequestError } from "../../../protocol/KosmonautError.ts"

/** Whether a text has more bytes than `size`, as UTF-8. */
export const isLarger = (text: string, size: number): boolean =>
  // A code unit has one to three bytes: only what may be too much is counted exactly.
  text.length > size || (text.length * 3 > size && byteLength(text) > size)

/** The error of a request whose message would be larger than `largest`. */
export const tooLarge = (largest: number): BadRequestError =>
  new BadRequestError({ detail: `the event with its data has more than ${largest} bytes as JSON` })
