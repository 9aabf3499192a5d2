/**
 * Texts of JSON, cut and joined without reading and writing their values: what a browser sent reaches others as it was
 * written, also a number that JavaScript cannot hold.
 *
 * Where a name occurs more than once in an object the last one counts, as it does for `JSON.parse`. Except for
 * `objectOrEmpty` and `value` the functions expect valid JSON; for any other text they end, in linear time, with a result
 * without meaning.
 *
 * @since 0.1.0
 */

import * as Result from "effect/Result"
import * as Json from "./Json.ts"
import { closeBracket, comma, endOfValue, skipSpace, walk } from "./JsonScanner.ts"

/**
 * The text of a JSON object that was checked: it begins with `{`, ends with `}` and has no line breaks, which a frame over
 * classic TCP could not carry.
 *
 * @since 0.1.0
 */
export class ObjectText {
  /** The text. */
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/**
 * `{}`.
 *
 * @since 0.1.0
 */
export const empty: ObjectText = new ObjectText("{}")

/**
 * Writes an object.
 *
 * @since 0.1.0
 */
export const fromObject = (object: Json.JsonObject): ObjectText => new ObjectText(JSON.stringify(object))

/**
 * Checks a text. Anything but the JSON of an object counts as `{}`, see `Json.parseObjectOrEmpty`.
 *
 * @since 0.1.0
 */
export const objectOrEmpty = (text: string): ObjectText =>
  Json.parseObjectOrEmpty(text) === Json.empty ? empty : new ObjectText(inOneLine(text.trim()))

/**
 * The text of a JSON value, checked and in one line; `undefined` if it is not JSON, or nested too deeply.
 *
 * @since 0.1.0
 */
export const value = (text: string): string | undefined =>
  Result.isSuccess(Json.parse(text)) ? inOneLine(text.trim()) : undefined

/**
 * Data of an event: an object, its text that was checked, or a text that was not.
 *
 * @since 0.1.0
 */
export type Input = Json.JsonObject | ObjectText | string

/**
 * `fromObject` and `objectOrEmpty`.
 *
 * @since 0.1.0
 */
export const from = (data: Input): ObjectText =>
  data instanceof ObjectText ? data : typeof data === "string" ? objectOrEmpty(data) : fromObject(data)

/**
 * The text of the value that `name` has in the payload of a message, `{"event":{…}}`; `undefined` where it has none.
 *
 * @since 0.1.0
 */
export const payloadValue = (message: string, name: string): string | undefined => {
  let from = -1
  let to = -1
  const hasEscapes = message.includes("\\")
  walk(message, skipSpace(message, 0), (_name, _end, payload) => {
    from = -1
    return walk(message, payload, (nameFrom, nameTo, value) => {
      const end = endOfValue(message, value)
      if (isNamed(message, nameFrom, nameTo, name, hasEscapes)) {
        from = value
        to = end
      }
      return end
    })
  })
  return from === -1 ? undefined : message.slice(from, to)
}

/**
 * The text of the object that `name` has in the payload of a message; `undefined` where it has none. It may be part of the
 * message's text, so what is to stay longer than the message needs a `copy`.
 *
 * @since 0.1.0
 */
export const payloadObject = (message: string, name: string): ObjectText | undefined => {
  const text = payloadValue(message, name)
  return text === undefined ? undefined : new ObjectText(inOneLine(text))
}

/**
 * The texts of an array's elements.
 *
 * @since 0.1.0
 */
export const elements = (array: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let at = skipSpace(array, skipSpace(array, 0) + 1)
  while (at < array.length && array.charCodeAt(at) !== closeBracket) {
    const end = endOfValue(array, at)
    found.push(array.slice(at, end))
    const next = skipSpace(array, end)
    if (array.charCodeAt(next) !== comma) break
    at = skipSpace(array, next + 1)
  }
  return found
}

/**
 * An object with more members, which the broker knows: their names need no escapes. Where the object has one of the same name, the new one counts and the old one is left out.
 *
 * @since 0.1.0
 */
export const extend = (
  object: ObjectText,
  more: { readonly [name in "channel" | "sid" | "uid"]?: string }
): string => {
  const { text } = object
  let members = ""
  // With a backslash a name can be spelled in many ways.
  let mayHave = text.includes("\\")
  for (const name in more) {
    const quoted = `"${name}"`
    members += `,${quoted}:${JSON.stringify(more[name as keyof typeof more])}`
    mayHave ||= text.includes(quoted)
  }
  return append(mayHave ? without(text, Object.keys(more)) : text, members)
}

/**
 * The members of both objects; where both have one of the same name, that of the second.
 *
 * @since 0.1.0
 */
export const merge = (first: ObjectText, second: ObjectText): ObjectText => {
  const names: Array<string> = []
  walk(second.text, 0, (from, to, value) => {
    names.push(String(read(second.text.slice(from, to))))
    return endOfValue(second.text, value)
  })
  return names.length === 0 ? first : new ObjectText(
    append(without(first.text, names), `,${second.text.slice(1, -1)}`)
  )
}

/**
 * The same object, whose text shares no memory with the text that it was cut from.
 *
 * @since 0.1.0
 */
export const copy = ({ text }: ObjectText): ObjectText =>
  // A cut of 13 characters and more refers to the whole text. This one refers to a new text, one character longer.
  text === empty.text ? empty : new ObjectText(` ${text}`.slice(1))

// `members` begin with a comma each.
const append = (object: string, members: string): string =>
  members === ""
    ? object
    : skipSpace(object, 1) === object.length - 1
    ? `{${members.slice(1)}}`
    : `${object.slice(0, -1)}${members}}`

// Without the members of these names.
const without = (object: string, names: ReadonlyArray<string>): string => {
  const kept: Array<string> = []
  let count = 0
  const hasEscapes = object.includes("\\")
  walk(object, 0, (from, to, value) => {
    const end = endOfValue(object, value)
    count++
    if (!names.some((name) => isNamed(object, from, to, name, hasEscapes))) kept.push(object.slice(from, end))
    return end
  })
  return kept.length === count ? object : `{${kept.join(",")}}`
}

const isNamed = (text: string, from: number, to: number, name: string, hasEscapes: boolean): boolean =>
  hasEscapes && text.slice(from, to).includes("\\")
    ? read(text.slice(from, to)) === name
    : to - from - 2 === name.length && text.startsWith(name, from + 1)

const read = (name: string): unknown => Result.getOrUndefined(Json.parse(name))

// Within strings there are none: JSON has them escaped.
const inOneLine = (text: string): string =>
  text.includes("\n") || text.includes("\r") ? text.replace(/[\n\r]/g, " ") : text
