/**
 * Texts that stay in memory share it with no other text.
 */

/**
 * A copy of a text. A text that is joined of others keeps all of them in memory, and one that is cut out of another keeps the
 * whole.
 */
export const ownText = (text: string): string => ` ${text}`.slice(1)

/**
 * The same text, joined in place if it was joined of others, so that it keeps only itself in memory, and whoever reads it next finds it
 * joined. One that is cut out of another still keeps that.
 */
export const flatten = (text: string): string =>
  // Reading it joins it. The result depends on that, or an optimizing compiler might leave it out; no text of ours begins like this.
  text.charCodeAt(0) === 0 ? ownText(text) : text
