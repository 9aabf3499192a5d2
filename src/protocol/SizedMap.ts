/**
 * A map that knows the total size of its values, and its oldest entry in constant time: for caches and lists that drop their
 * oldest entries beyond a limit.
 *
 * @since 0.1.0
 */

import { TransientMap } from "./TransientMap.ts"

/**
 * A map whose values have sizes. It iterates from the oldest entry to the newest one.
 *
 * @since 0.1.0
 */
export interface SizedMap<A> {
  /** The entries, for reading. */
  readonly entries: Entries<A>
  /** The size of all values together. */
  readonly size: () => number
  /** Sets a value. A key that is in the map keeps its age. */
  readonly set: (key: string, value: A) => void
  /** Makes an entry the newest one, and returns its value. */
  readonly renew: (key: string) => A | undefined
  /** Removes an entry, and returns its value. */
  readonly remove: (key: string) => A | undefined
  /** The oldest entry. */
  readonly oldest: () => readonly [key: string, value: A] | undefined
  /** Removes the oldest entry, and returns it. */
  readonly removeOldest: () => readonly [key: string, value: A] | undefined
}

/**
 * The entries of a `SizedMap`, for reading.
 *
 * @since 0.1.0
 */
export type Entries<A> = Pick<
  TransientMap<string, A>,
  "get" | "has" | "size" | "keys" | "values" | typeof Symbol.iterator
>

/** How many entries may be removed before an iterator is given up, beside as many as there are. */
const patience = 1000

/**
 * Makes an empty map. The size of a value must not change.
 *
 * @since 0.1.0
 */
export const make = <A>(sizeOf: (value: A) => number): SizedMap<A> => {
  const entries = new TransientMap<string, A>()
  // All entries before this iterator, but for `first`, are removed. A new one would have to skip the places of removed entries
  // each time.
  let rest: MapIterator<string> | undefined
  let first: IteratorResult<string> | undefined
  let removals = 0
  let moved = 0
  let size = 0

  // V8 keeps all that a map has had since the last step of an iterator. So one that has not moved for long is given up.
  const giveUp = (): void => {
    rest = first = undefined
    removals = 0
    moved = entries.moved
  }
  const remove = (key: string): A | undefined => {
    const value = entries.get(key)
    if (value === undefined) return undefined
    entries.delete(key)
    size -= sizeOf(value)
    if (first?.value === key) first = undefined
    if (++removals > entries.size + patience) giveUp()
    return value
  }
  const set = (key: string, value: A) => {
    const before = entries.get(key)
    size += sizeOf(value) - (before === undefined ? 0 : sizeOf(before))
    entries.set(key, value)
    if (entries.moved !== moved) giveUp()
  }
  const oldest = (): readonly [string, A] | undefined => {
    if (first === undefined) {
      rest ??= entries.keys()
      first = rest.next()
      removals = 0
      // An iterator that was at the end does not go on when entries are added.
      if (first.done === true && entries.size > 0) first = (rest = entries.keys()).next()
    }
    if (first.done !== true) return [first.value, entries.get(first.value)!]
    giveUp()
    return undefined
  }
  return {
    entries,
    size: () => size,
    set,
    remove,
    renew: (key) => {
      const value = remove(key)
      if (value !== undefined) set(key, value)
      return value
    },
    oldest,
    removeOldest: () => {
      const entry = oldest()
      if (entry !== undefined) remove(entry[0])
      return entry
    }
  }
}
