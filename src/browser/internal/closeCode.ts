/**
 * What a close code says about reconnecting.
 */

/**
 * Whether a connection that was closed by this code should stay closed: 1000 and 1005, which somebody wanted, and 4400 to
 * 4499, with which the broker says that reconnecting cannot help. A browser comes back after all others, those that it does
 * not know among them.
 */
export const isFinal = (code: number): boolean => code === 1000 || code === 1005 || (code >= 4400 && code < 4500)

/** The code that stands for a connection that was lost, or could not be opened. */
export const lost = 1006

/** The code of a connection whose message was too large. */
export const tooLarge = 1009
