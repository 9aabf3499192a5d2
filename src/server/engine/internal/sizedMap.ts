/**
 * A map that knows the total size of its values, and its oldest entry in constant time: for caches and lists that drop their
 * oldest entries beyond a limit.
 */

/** A map whose values have sizes. It iterates from the oldest entry to the newest one. */
export interface SizedMap<A> {
  /** The entries, for reading. */
  readonly entries: ReadonlyMap<string, A>
  /** The size of all values together. */
  readonly size: () => number
  /** Sets a value. A key that is in the map keeps its age. */
  readonly set: (key: string, value: A) => void
  /** Makes an entry the newest one, and returns its value. */
  readonly renew: (key: string) => A | undefined
  /** Removes an entry, and returns its value. */
  readonly remove: (key: string) => A | undefined
  /** Removes the oldest entry, and returns it. */
  readonly removeOldest: () => readonly [key: string, value: A] | undefined
}

/** Makes an empty map. The size of a value must not change. */
export const make = <A>(sizeOf: (value: A) => number): SizedMap<A> => {
  const entries = new Map<string, A>()
  // All entries before this iterator are removed. A new one would have to skip the places of removed entries each time.
  let oldest = entries.entries()
  let size = 0

  const remove = (key: string): A | undefined => {
    const value = entries.get(key)
    if (value === undefined) return undefined
    entries.delete(key)
    size -= sizeOf(value)
    return value
  }
  const set = (key: string, value: A) => {
    const before = entries.get(key)
    size += sizeOf(value) - (before === undefined ? 0 : sizeOf(before))
    entries.set(key, value)
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
    removeOldest: () => {
      let next = oldest.next()
      // An iterator that was at the end does not go on when entries are added.
      if (next.done) {
        oldest = entries.entries()
        next = oldest.next()
      }
      if (next.done) return undefined
      remove(next.value[0])
      return next.value
    }
  }
}
