/**
 * Long lists, a part at a time.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Part } from "../../domain/Listing.ts"

/** All items of a list, of which one part is read in a step. */
export const all = <A>(partAfter: (cursor: number) => Part<A>): Stream.Stream<A> =>
  Stream.paginate(0, (cursor) =>
    Effect.sync(() => {
      const { items, next } = partAfter(cursor)
      return [items.map(({ value }) => value), Option.fromUndefinedOr(next)] as const
    }))
