/**
 * Fields of a text: each has its length before it, so that none is escaped or parsed.
 *
 * A field is a text, a number, a flag, or absent. Whoever reads knows which fields come in which order. What is malformed or missing ends
 * the reading: the reader is at its end and `isBroken`, and fields that follow are absent.
 */

/** A text that is read field by field. */
export interface Reader {
  readonly text: string
  at: number
}

/** Reads a text from its beginning. */
export const reader = (text: string): Reader => ({ text, at: 0 })

/** An absent field. */
export const absent = ":"

/** Writes a text, or that there is none. A half of a surrogate pair is written as U+FFFD, since it has no bytes of its own. */
export const text = (value: string | undefined): string => {
  if (value === undefined) return absent
  const written = value.isWellFormed() ? value : value.toWellFormed()
  return `${written.length}:${written}`
}

/** Writes a number, or that there is none. */
export const number = (value: number | undefined): string => text(value === undefined ? undefined : String(value))

/** Writes a flag. */
export const flag = (value: boolean | undefined): string => value === true ? "1:1" : absent

/** Whether nothing is left. */
export const isAtEnd = ({ at, text }: Reader): boolean => at >= text.length

/** Whether something was malformed or missing. */
export const isBroken = ({ at, text }: Reader): boolean => at > text.length

/** Reads a text. */
export const readText = (reader: Reader): string | undefined => {
  const { at, text } = reader
  let length = 0
  for (let index = at; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === colon) {
      const from = index + 1
      if (from + length > text.length) break
      reader.at = from + length
      return index === at ? undefined : text.slice(from, reader.at)
    }
    if (code < zero || code > nine) break
    length = length * 10 + code - zero
  }
  reader.at = text.length + 1
  return undefined
}

/** Reads a text that is there. */
export const textOf = (reader: Reader): string => readText(reader) ?? ""

/** Reads a number. */
export const readNumber = (reader: Reader): number | undefined => {
  const text = readText(reader)
  return text === undefined ? undefined : Number(text)
}

/** Reads a number that is there. */
export const numberOf = (reader: Reader): number => Number(readText(reader))

/** Reads a flag. */
export const flagOf = (reader: Reader): boolean => readText(reader) !== undefined

/** Writes how many there are, and each. */
export const all = <A>(values: Iterable<A>, write: (value: A) => string): string => {
  let count = 0
  let fields = ""
  for (const value of values) {
    fields += write(value)
    count++
  }
  return number(count) + fields
}

/** Reads how many there are, and each. */
export const allOf = <A>(reader: Reader, read: (reader: Reader) => A): Array<A> => {
  const values: Array<A> = []
  for (let left = numberOf(reader); left > 0 && !isAtEnd(reader); left--) values.push(read(reader))
  return values
}

const colon = 58
const zero = 48
const nine = 57
