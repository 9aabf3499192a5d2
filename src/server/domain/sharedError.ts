/**
 * Errors that are made once for each text. Anybody can cause thousands in a second, and the stack trace of an error costs more
 * than handling the message that it is about.
 *
 * @since 0.1.0
 */

/** How many errors of a kind are kept, and for texts of how many characters. */
const capacity = 256
const maxText = 256

/**
 * Makes `make` return the error of before for the same text. The error must say nothing but what `text` says. Up to 256 errors
 * are kept.
 *
 * @since 0.1.0
 */
export const shared = <E>(make: (text: string) => E): (text: string) => E => {
  const errors = new Map<string, E>()
  return (text) => {
    const known = errors.get(text)
    if (known !== undefined) return known
    const error = make(text)
    if (text.length > maxText) return error
    if (errors.size >= capacity) errors.clear()
    errors.set(text, error)
    return error
  }
}
