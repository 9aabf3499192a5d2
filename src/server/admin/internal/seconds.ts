/**
 * Durations as they are answered.
 */

/** Seconds of milliseconds, without fractions of a millisecond. */
export const seconds = (millis: number): number => Math.floor(millis) / 1000
