/**
 * Requests in flight, by numbers that count up from 1.
 *
 * Responses mostly arrive in the order of their requests, so each request has a slot by its number, which is cleared with its
 * response. Requests that take long move to a map, and there are at most twice as many slots as requests were ever in flight.
 * A `Map` was much slower with a thousand in flight: it leaves its old tables, and all that was in them, to the garbage
 * collector.
 */

/** Values in the order of their numbers. */
export interface Flight<A> {
  /** Adds one, and returns its number. */
  readonly add: (value: A) => number
  /** Removes and returns the value with this number. */
  readonly take: (number: number) => A | undefined
  /** The first of all. */
  readonly first: () => { readonly number: number; readonly value: A } | undefined
  /** Removes and returns all, in order. */
  readonly takeAll: () => ReadonlyArray<A>
  /** How many there are. */
  readonly size: () => number
  /** How many slots there are. */
  readonly capacity: () => number
}

/** Makes one, empty. `capacity` is how many slots there are at first, a power of two. */
export const make = <A>(capacity = 64): Flight<A> => {
  let slots: Array<A | undefined> = Array.from({ length: capacity })
  // Numbers from `first` to before `next` have slots. The slot of `first` is filled, unless `first` is `next`.
  let first = 1
  let next = 1
  let count = 0
  const late = new Map<number, A>()

  const slotOf = (number: number): number => number & (slots.length - 1)
  const clear = (number: number) => {
    slots[slotOf(number)] = undefined
    count--
    if (number !== first) return
    do first++
    while (first < next && slots[slotOf(first)] === undefined)
  }
  const makeRoom = () => {
    if (count <= slots.length / 2) {
      late.set(first, slots[slotOf(first)]!)
      return clear(first)
    }
    const larger: Array<A | undefined> = Array.from({ length: slots.length * 2 })
    for (let number = first; number < next; number++) larger[number & (larger.length - 1)] = slots[slotOf(number)]
    slots = larger
  }
  const take = (number: number): A | undefined => {
    if (number < first || number >= next) {
      const value = late.size === 0 ? undefined : late.get(number)
      if (value !== undefined) late.delete(number)
      return value
    }
    const value = slots[slotOf(number)]
    if (value !== undefined) clear(number)
    return value
  }

  return {
    add: (value) => {
      if (next - first === slots.length) makeRoom()
      slots[slotOf(next)] = value
      count++
      return next++
    },
    take,
    first: () => {
      for (const [number, value] of late) return { number, value }
      return first === next ? undefined : { number: first, value: slots[slotOf(first)]! }
    },
    takeAll: () => {
      const values = [...late.values()]
      late.clear()
      while (first < next) values.push(take(first)!)
      return values
    },
    size: () => count + late.size,
    capacity: () => slots.length
  }
}
