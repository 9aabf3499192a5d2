/**
 * The limit of messages that the broker sends to browsers.
 */

import { byteLength } from "../../../protocol/Frame.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import { BadRequestError } from "../../../protocol/KosmonautError.ts"

/** Whether a text has more bytes than `size`, as UTF-8. */
export const isLarger = (text: string, size: number): boolean =>
  // A code unit has one to three bytes: only what may be too much is counted exactly.
  text.length > size || (text.length * 3 > size && byteLength(text) > size)

/** Whether a message of these names and data is surely not larger than `size`, whatever it takes to write it as JSON. */
export const isSurelyWithin = (size: number, names: ReadonlyArray<string>, data: JsonText.Input): boolean => {
  if (!(data instanceof JsonText.ObjectText)) return false
  // A code unit of a name has at most 6 bytes, and one of a text that is JSON already at most 3.
  const length = names.reduce((sum, name) => sum + 6 * name.length, 3 * data.text.length)
  return length + syntax <= size
}

/** More than the keys, the quotes and the braces of a message have. */
const syntax = 100

/** The error of a request whose message would be larger than `largest`. */
export const tooLarge = (largest: number): BadRequestError =>
  new BadRequestError({ detail: `the event with its data has more than ${largest} bytes as JSON` })
