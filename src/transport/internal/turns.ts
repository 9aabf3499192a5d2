/**
 * Gives the others their turn of the event loop, however much one side says at once. To do so after every message, or every
 * batch, costs more than many a message.
 */

import * as Effect from "effect/Effect"

/** To be asked after each message: what to wait for before the next one, where it is the others' turn. */
export type Turns = () => Effect.Effect<void> | undefined

/** How many messages are handled in one turn at most. */
const most = 256

/** Makes turns for one reader. */
export const make = (): Turns => {
  let handled = 0
  return () => {
    if (++handled < most) return undefined
    handled = 0
    return Effect.yieldNow
  }
}
