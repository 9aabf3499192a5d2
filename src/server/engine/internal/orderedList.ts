/**
 * A list in the order of insertion, which can be read from a cursor on in logarithmic time.
 *
 * An entry that is removed leaves a gap; once there are more gaps than entries the gaps are closed. There are no closures
 * for each list, since a broker may have 100 000 channels, each with a list.
 */

/** An entry; `value` is `undefined` once it is removed. */
export interface Entry<A> {
  /** Its cursor, larger than those of all earlier entries. */
  readonly cursor: number
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

/** Visits the entries after a cursor, until a visit gives `false`, and returns whether none did. The list must not change. */
export const everyAfter = <A>(
  { entries }: OrderedList<A>,
  cursor: number,
  visit: (value: A, cursor: number) => boolean
): boolean => {
  for (let index = firstAfter(entries, cursor); index < entries.length; index++) {
    const { cursor: entryCursor, value } = entries[index]!
    if (value !== undefined && !visit(value, entryCursor)) return false
  }
  return true
}

const firstAfter = (entries: ReadonlyArray<Entry<unknown>>, cursor: number): number => {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.cursor > cursor) high = middle
    else low = middle + 1
  }
  return low
}
