/**
 * Lists that are requested in parts, so that no response is larger than a message may be.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** A part of a list, and the cursor where it continues; `null` at its end. */
interface Part<A> {
  readonly items: ReadonlyArray<A>
  readonly next: number | null
}

/** The list after a cursor as a stream; each part is requested when it is pulled. */
export const stream = <A, E>(
  part: (after: number) => Effect.Effect<Part<A>, E>,
  after = 0
): Stream.Stream<A, E> =>
  Stream.paginate(after, (after) =>
    Effect.map(part(after), ({ items, next }) => [
      items,
      // A cursor that does not advance would never end.
      next !== null && next > after ? Option.some(next) : Option.none()
    ]))
