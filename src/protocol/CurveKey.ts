/**
 * Keys of CURVE, the encryption of ZeroMQ: 32 bytes, as text 64 hexadecimal digits. ZeroMQ itself writes them as 40 characters
 * of Z85, which are read, too. (Source: ZeroMQ RFC 26 and 32.)
 *
 * @since 0.1.0
 */

/**
 * Reads a key, in either form, as 64 lower-case hexadecimal digits; `undefined` if the text is not a key.
 *
 * @since 0.1.0
 */
export const parse = (text: string): string | undefined =>
  /^[\da-f]{64}$/i.test(text) ? text.toLowerCase() : text.length === 40 ? fromZ85(text) : undefined

/**
 * A key as ZeroMQ writes it: 40 characters of Z85.
 *
 * @since 0.1.0
 */
export const toZ85 = (key: string): string => {
  let text = ""
  for (let at = 0; at < key.length; at += 8) {
    const value = Number.parseInt(key.slice(at, at + 8), 16)
    for (const place of places) text += alphabet[Math.floor(value / place) % 85]
  }
  return text
}

const fromZ85 = (text: string): string | undefined => {
  let key = ""
  for (let at = 0; at < text.length; at += 5) {
    let value = 0
    for (const character of text.slice(at, at + 5)) {
      const digit = alphabet.indexOf(character)
      if (digit === -1) return undefined
      value = value * 85 + digit
    }
    if (value > 0xffff_ffff) return undefined
    key += value.toString(16).padStart(8, "0")
  }
  return key
}

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

const places = [85 ** 4, 85 ** 3, 85 ** 2, 85, 1]
