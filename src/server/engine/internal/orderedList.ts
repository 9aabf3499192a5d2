/**
 * A list in the order of coming, in which going on after a cursor costs the logarithm of its length.
 *
 * An entry that is removed leaves a gap; once there are more gaps than entries the gaps are closed. There is no closure for
 * each list, since a broker may have a list for each of 100 000 channels.
 */

import type { Placed } from "../../domain/Listing.ts"

/** An entry; `value` is `undefined` once it is removed. */
export interface Entry<A> {
  /** Its cursor, larger than those of all that came before. */
  readonly place: number
  value: A | undefined
}

/** A list. Its size is the number of entries without the gaps. */
export interface OrderedList<A> {
  entries: Array<Entry<A>>
  size: number
}

/** Makes a list, empty. */
export const make = <A>(): OrderedList<A> => ({ entries: [], size: 0 })

/** Appends an entry, whose cursor is the largest of all. */
export const append = <A>(list: OrderedList<A>, entry: Entry<A>): void => {
  list.entries.push(entry)
  list.size++
}

/** Removes an entry that is in the list. */
export const remove = <A>(list: OrderedList<A>, entry: Entry<A>): void => {
  entry.value = undefined
  list.size--
  if (list.entries.length > 2 * list.size + 32) list.entries = list.entries.filter(({ value }) => value !== undefined)
}

/** The entries after a cursor, for use at once: a change of the list meanwhile may show or not. */
export function* after<A>(list: OrderedList<A>, cursor: number): Generator<Placed<A>, void> {
  const { entries } = list
  for (let index = firstAfter(entries, cursor); index < entries.length; index++) {
    const { place, value } = entries[index]!
    if (value !== undefined) yield { place, value }
  }
}

const firstAfter = (entries: ReadonlyArray<Entry<unknown>>, cursor: number): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.place > cursor) high = middle
    else low = middle + 1
  }
  return low
}
