/**
 * Texts that stay in memory share it with no other text.
 */

/**
 * A copy of a text. A text that is joined of others keeps all of them in memory, and one that is cut out of another keeps the
 * whole.
 */
export const ownText = (text: string): string => ` ${text}`.slice(1)
