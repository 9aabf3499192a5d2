/**
 * Lists that are read in parts, so that no part is larger than a message or more work than a turn.
 *
 * @since 0.1.0
 */

/**
 * An entry of a list, and the cursor from which the list continues after it.
 *
 * @since 0.1.0
 */
export interface Listed<out A> {
  readonly cursor: number
  readonly value: A
}

/**
 * A part of a list, and the cursor from which the list continues, `undefined` at its end.
 *
 * @since 0.1.0
 */
export interface Part<out A> {
  readonly items: ReadonlyArray<Listed<A>>
  readonly next: number | undefined
}
