/**
 * Whether a message is written at once, or at the end of its turn of the event loop, together with those that come until then. At
 * once, if the last turn had no other: then likely nothing comes that could go with it, and its peer begins while the turn goes on. If
 * another one comes nevertheless, it costs one write more, and the next turn waits for its end.
 *
 * @since 0.1.0
 */

import * as EventLoop from "./EventLoop.ts"

/**
 * Counts the messages of turns.
 *
 * @since 0.1.0
 */
export interface Eager {
  /** Counts a message. Whether it is to be written at once. */
  readonly countUnsafe: () => boolean
}

/**
 * Makes it. The first turn waits for its end.
 *
 * @since 0.1.0
 */
export const make = (): Eager => {
  let turn = EventLoop.current()
  let count = 0
  let wasAlone = false
  return {
    countUnsafe: () => {
      const current = EventLoop.current()
      if (current !== turn) {
        wasAlone = count === 1
        turn = current
        count = 0
      }
      return ++count === 1 && wasAlone
    }
  }
}
