/**
 * How long something takes, as a distribution: what is measured is added, and read elsewhere.
 *
 * @since 0.1.0
 */

/**
 * A distribution of durations.
 *
 * @since 0.1.0
 */
export interface Lag {
  /** Adds a duration, in milliseconds. */
  readonly addUnsafe: (millis: number) => void
}
