/**
 * Turns of the event loop for one reader, as effects.
 */

import type * as Effect from "effect/Effect"
import * as EventLoop from "../EventLoop.ts"

/** To be asked after each message: what to wait for before the next one, if the turn is over. */
export type Turns = () => Effect.Effect<void> | undefined

/** Makes turns for one reader. */
export const make = (): Turns => () => {
  EventLoop.begin()
  return EventLoop.isOver() ? EventLoop.next : undefined
}
