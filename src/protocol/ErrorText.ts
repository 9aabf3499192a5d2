/**
 * How errors show values from outside: quoted, and never at full length; and what was thrown, in words.
 *
 * @since 0.1.0
 */

import { format } from "effect/Formatter"

/**
 * What was thrown, in words: the message of an error, a text as it is, and anything else as Effect formats it.
 *
 * @since 0.1.0
 */
export const messageOf = (thrown: unknown): string =>
  thrown instanceof Error ? thrown.message : typeof thrown === "string" ? thrown : format(thrown)

/**
 * A value from outside, quoted, at most its first 100 characters.
 *
 * @since 0.1.0
 */
export const quote = (value: string): string => JSON.stringify(shortened(value, 100))

/**
 * The message of a cause, in parentheses, at most its first 500 characters; empty if the cause has none.
 *
 * @since 0.1.0
 */
export const causeText = (cause: unknown): string =>
  cause instanceof Error && cause.message !== "" ? ` (${shortened(cause.message, 500)})` : ""

const shortened = (text: string, length: number): string => text.length > length ? `${text.slice(0, length)}…` : text
