/**
 * Where the parts of a JSON text begin and end. Positions are those of UTF-16 code units.
 *
 * Nothing is checked: for what is no JSON the functions end, too, in linear time, with some position.
 *
 * @since 0.1.0
 */

/**
 * `,`
 *
 * @since 0.1.0
 */
export const comma = 0x2c

/**
 * `]`
 *
 * @since 0.1.0
 */
export const closeBracket = 0x5d

const quote = 0x22
const openBracket = 0x5b
const backslash = 0x5c
const openBrace = 0x7b
const closeBrace = 0x7d

/**
 * Visits the members of the object that begins at `start`, and gives the end of the object. A visit gets the beginning and
 * the end of the name, quotes included, and the beginning of the value, and gives the end of the value.
 *
 * @since 0.1.0
 */
export const walk = (
  text: string,
  start: number,
  visit: (nameFrom: number, nameTo: number, value: number) => number
): number => {
  let at = skipSpace(text, start + 1)
  while (at < text.length && text.charCodeAt(at) !== closeBrace) {
    const nameTo = endOfString(text, at)
    const value = skipSpace(text, skipSpace(text, nameTo) + 1)
    at = skipSpace(text, visit(at, nameTo, value))
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1)
  }
  return at + 1
}

/**
 * The end of the value that begins at `start`.
 *
 * @since 0.1.0
 */
export const endOfValue = (text: string, start: number): number => {
  const first = text.charCodeAt(start)
  if (first === quote) return endOfString(text, start)
  if (first !== openBrace && first !== openBracket) return endOfWord(text, start)
  let depth = 0
  return scan(text, start, (change) => (depth += change) === 0)
}

/**
 * Whether objects and arrays are nested more than `levels` deep. Brackets in strings do not count.
 *
 * @since 0.1.0
 */
export const isDeeperThan = (text: string, levels: number): boolean => {
  // A short text cannot be deep.
  if (text.length <= 2 * levels) return false
  let depth = 0
  let deepest = 0
  scan(text, 0, (change) => {
    depth += change
    if (depth > deepest) deepest = depth
    return deepest > levels
  })
  return deepest > levels
}

/**
 * The first position from `start` on that is no white space.
 *
 * @since 0.1.0
 */
export const skipSpace = (text: string, start: number): number => {
  let at = start
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

// Visits every bracket and brace that is in no string, 1 for an opening one and -1 for a closing one, until that gives
// true, and gives the position after the last.
const scan = (text: string, start: number, isLast: (change: 1 | -1) => boolean): number => {
  let plain = 0
  for (let at = start; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === quote) {
      at = endOfString(text, at) - 1
      plain = 0
    } else if (char >= openBracket) {
      // A brace is a bracket and one bit.
      const brace = char | 0x20
      if ((brace === openBrace || brace === closeBrace) && isLast(brace === openBrace ? 1 : -1)) return at + 1
      plain = 0
    } else if (++plain > 32) {
      // Within many numbers this is much faster than to look at each character, and between strings much slower.
      structure.lastIndex = at
      if (!structure.test(text)) return text.length
      at = structure.lastIndex - 2
      plain = 0
    }
  }
  return text.length
}
const structure = /["[\]{}]/g

const endOfString = (text: string, start: number): number => {
  for (let end = text.indexOf("\"", start + 1); end !== -1; end = text.indexOf("\"", end + 1)) {
    let unescaped = end
    while (unescaped > start + 1 && text.charCodeAt(unescaped - 1) === backslash) unescaped--
    if ((end - unescaped) % 2 === 0) return end + 1
  }
  return text.length
}

// A number, `true`, `false` or `null`.
const endOfWord = (text: string, start: number): number => {
  let end = start
  while (end < text.length && !isEndOfWord(text.charCodeAt(end))) end++
  return end
}

const isEndOfWord = (char: number): boolean =>
  char === comma || char === closeBrace || char === closeBracket || isSpace(char)

const isSpace = (char: number): boolean => char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09
