/**
 * Long lists, a part at a time.
 */

import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Listed, Part } from "../../domain/Listing.ts"
import { limits } from "../AdminModel.ts"

/** Which part is asked for. */
export interface Page {
  readonly after?: number
  readonly limit?: number
}

/** A part as it is answered. */
interface Answered<A> {
  readonly items: ReadonlyArray<A>
  readonly next?: number
}

/** All items of a list, of which one part is read in a step. Ends with the first one, since that tells whether it can be read. */
export const all = <A, E>(
  partAfter: (cursor: number) => Effect.Effect<Part<A>, E>
): Effect.Effect<Stream.Stream<A, E>, E> =>
  Effect.map(partAfter(0), (first) =>
    Stream.paginate(first, ({ items, next }) =>
      Effect.map(
        next === undefined ? Effect.undefined : partAfter(next),
        (part) => [items.map(({ value }) => value), Option.fromUndefinedOr(part)] as const
      )))

/** A part of the engine's as it is answered: as many items as are asked for, each as `use` has it. */
export const answer = <A, B>(
  { items, next }: Part<A>,
  { limit = limits.standard }: Page,
  use: (item: A) => B
): Answered<B> => {
  const some = items.slice(0, limit)
  const end = some.length < items.length ? some.at(-1)!.cursor : next
  return { items: some.map(({ value }) => use(value)), ...end !== undefined && { next: end } }
}

/**
 * Reads lists that have no cursors of their own: an item gets one when it is listed first, and keeps it as long as `keyOf` returns
 * the same object. The items must come in the order in which they were added.
 */
export const makeCursors = <A>(keyOf: (item: A) => object) => {
  const cursors = new WeakMap<object, number>()
  let last = 0
  const cursorOf = (item: A): number => {
    const key = keyOf(item)
    const cursor = cursors.get(key) ?? ++last
    cursors.set(key, cursor)
    return cursor
  }
  return (items: Iterable<A>, { after = 0, limit = limits.standard }: Page): Part<A> => {
    const some: Array<Listed<A>> = []
    for (const value of items) {
      const cursor = cursorOf(value)
      if (cursor <= after) continue
      if (some.length === limit) return { items: some, next: some.at(-1)!.cursor }
      some.push({ cursor, value })
    }
    return { items: some, next: undefined }
  }
}
