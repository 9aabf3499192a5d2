/**
 * The arguments of commands: how each is read from its frame and written to it.
 *
 * @since 0.1.0
 */

/**
 * One argument of a command, a frame.
 *
 * @since 0.1.0
 */
export interface Argument<A> {
  /** What an error calls it. */
  readonly needed: string
  /** `undefined` if the frame is missing or wrong. */
  readonly read: (frame: string | undefined) => A | undefined
  /** The frame of a value. */
  readonly write: (value: A) => string
}

/**
 * The integer that a frame has; 0 if it has none.
 *
 * @since 0.1.0
 */
export const integer = (frame: string | undefined): number => {
  const number = Number(frame)
  return Number.isSafeInteger(number) ? number : 0
}

/**
 * A text that is not empty.
 *
 * @since 0.1.0
 */
export const text = (needed: string): Argument<string> => ({
  needed,
  read: (frame) => frame || undefined,
  write: String
})

/**
 * Data, which may be empty, but not be missing.
 *
 * @since 0.1.0
 */
export const data: Argument<string> = { needed: "data", read: (frame) => frame, write: String }

/**
 * A text that may be empty or missing.
 *
 * @since 0.1.0
 */
export const optionalText: Argument<string> = { needed: "a text", read: (frame = "") => frame, write: String }

/**
 * A cursor of a list, 0 if it is missing.
 *
 * @since 0.1.0
 */
export const cursor: Argument<number> = { needed: "a cursor", read: integer, write: String }

/**
 * One of two words.
 *
 * @since 0.1.0
 */
export const oneOf = <const A extends string>(one: A, other: A): Argument<A> => ({
  needed: `${one} or ${other}`,
  read: (frame) => frame === one || frame === other ? frame as A : undefined,
  write: String
})

/**
 * Whether a value is a number within these bounds.
 *
 * @since 0.1.0
 */
export const isWithin = (value: unknown, least: number, most: number): value is number =>
  typeof value === "number" && value >= least && value <= most
