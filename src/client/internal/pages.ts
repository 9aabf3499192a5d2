/**
 * Lists that come in parts, so that none is larger than a message may be.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** A part of a list, and the place to go on from; `null` after the last. */
interface Part<A> {
  readonly items: ReadonlyArray<A>
  readonly next: number | null
}

/** The list from its parts, each asked for when it is wanted. */
export const stream = <A, E>(part: (after: number) => Effect.Effect<Part<A>, E>): Stream.Stream<A, E> =>
  Stream.paginate(0, (after) =>
    Effect.map(part(after), ({ items, next }) => [
      items,
      // One that does not go on would never end.
      next !== null && next > after ? Option.some(next) : Option.none()
    ]))
