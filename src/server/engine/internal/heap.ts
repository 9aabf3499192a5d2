/**
 * A binary heap: its least entry is found in constant time, and each change takes logarithmic time. Any entry may be removed
 * or moved.
 */

/** The entry of an item in a heap. An item may have entries in several heaps. */
export interface Entry<A> {
  readonly item: A
  /** Its index in the heap, -1 outside of it. */
  index: number
}

/** A heap. */
export interface Heap<A> {
  readonly size: number
  /** The least item. */
  readonly peek: () => A | undefined
  /** Removes the least item. */
  readonly take: () => A | undefined
  /** Adds an entry, or moves it if its item has changed. */
  readonly put: (entry: Entry<A>) => void
  /** Removes an entry if it is in it. */
  readonly remove: (entry: Entry<A>) => void
}

/** Makes an entry that is in no heap. */
export const entryOf = <A>(item: A): Entry<A> => ({ item, index: -1 })

/** Makes an empty heap in this order. */
export const make = <A>(isBefore: (one: A, other: A) => boolean): Heap<A> => {
  const entries: Array<Entry<A>> = []

  const move = (entry: Entry<A>) => {
    rise(entries, isBefore, entry)
    sink(entries, isBefore, entry)
  }
  const remove = (entry: Entry<A>) => {
    const { index } = entry
    if (index < 0) return
    entry.index = -1
    const last = entries.pop()!
    if (last === entry) return
    place(entries, last, index)
    move(last)
  }
  return {
    get size() {
      return entries.length
    },
    peek: () => entries[0]?.item,
    take: () => {
      const least = entries[0]
      if (least === undefined) return undefined
      remove(least)
      return least.item
    },
    put: (entry) => {
      if (entry.index < 0) {
        entry.index = entries.length
        entries.push(entry)
      }
      if (entries.length > 1) move(entry)
    },
    remove
  }
}

const place = <A>(entries: Array<Entry<A>>, entry: Entry<A>, index: number): void => {
  entries[index] = entry
  entry.index = index
}

const rise = <A>(entries: Array<Entry<A>>, isBefore: (one: A, other: A) => boolean, entry: Entry<A>): void => {
  let index = entry.index
  while (index > 0) {
    const parent = entries[(index - 1) >> 1]!
    if (!isBefore(entry.item, parent.item)) break
    place(entries, parent, index)
    index = (index - 1) >> 1
  }
  place(entries, entry, index)
}

const sink = <A>(entries: Array<Entry<A>>, isBefore: (one: A, other: A) => boolean, entry: Entry<A>): void => {
  let index = entry.index
  for (;;) {
    const left = entries[2 * index + 1]
    if (left === undefined) break
    const right = entries[2 * index + 2]
    const child = right !== undefined && isBefore(right.item, left.item) ? right : left
    if (!isBefore(child.item, entry.item)) break
    const below = child.index
    place(entries, child, index)
    index = below
  }
  place(entries, entry, index)
}
