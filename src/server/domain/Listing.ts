/**
 * Lists that are read in parts, so that no part is larger than a message or more work than a turn.
 *
 * @since 0.1.0
 */

/**
 * An entry of a list and its place there, the cursor from which a later part of the list continues.
 *
 * @since 0.1.0
 */
export interface Placed<out A> {
  readonly place: number
  readonly value: A
}

/**
 * A part of a list, and the cursor from which the list continues, `undefined` at its end.
 *
 * @since 0.1.0
 */
export interface Part<out A> {
  readonly items: ReadonlyArray<Placed<A>>
  readonly next: number | undefined
}
