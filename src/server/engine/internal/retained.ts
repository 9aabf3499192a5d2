/**
 * What one history retains, the oldest broadcast first. A broadcast takes little memory beside its text, and dropping the oldest one
 * does not read it: each broadcast of a channel that retains its last thousand drops one, which is no longer in the processor's cache.
 */

/** A broadcast that is retained. */
export interface Entry {
  readonly position: number
  /** The message to browsers, with its position. */
  readonly message: string
  readonly exceptSid: string | undefined
  /** When it was appended, on the clock of the vhost. */
  readonly at: number
  /** Its bytes in memory, and at least two thirds of its bytes in an outbound queue. */
  readonly size: number
}

/** The broadcasts of one history: a ring, from index `first` on. */
export interface Retained {
  messages: Array<string | undefined>
  /** The position of each, its time and its size. */
  numbers: Array<number>
  /** By positions. Most broadcasts have none. */
  exceptSids: Map<number, string> | undefined
  first: number
  count: number
}

/** Nothing yet. */
export const make = (): Retained => ({ messages: [], numbers: [], exceptSids: undefined, first: 0, count: 0 })

/** A copy that does not change. */
export const copy = ({ exceptSids, messages, numbers, ...ring }: Retained): Retained => ({
  ...ring,
  messages: messages.slice(),
  numbers: numbers.slice(),
  exceptSids: exceptSids && new Map(exceptSids)
})

const indexOf = ({ first, messages: { length } }: Retained, nth: number): number =>
  first + nth < length ? first + nth : first + nth - length

/** The position of the nth broadcast, the oldest is 0. */
export const positionOf = (retained: Retained, nth: number): number => retained.numbers[3 * indexOf(retained, nth)]!

/** When the oldest broadcast was appended. */
export const oldestTime = ({ first, numbers }: Retained): number => numbers[3 * first + 1]!

/** The bytes of the oldest broadcast. */
export const oldestSize = ({ first, numbers }: Retained): number => numbers[3 * first + 2]!

/** The nth broadcast, the oldest is 0. */
export const entryOf = (retained: Retained, nth: number): Entry => {
  const { exceptSids, messages, numbers } = retained
  const index = indexOf(retained, nth)
  const [position, at, size] = [numbers[3 * index]!, numbers[3 * index + 1]!, numbers[3 * index + 2]!]
  return { position, message: messages[index]!, exceptSid: exceptSids?.get(position), at, size }
}

/** Appends a broadcast. */
export const append = (retained: Retained, { at, exceptSid, message, position, size }: Entry): void => {
  if (retained.count === retained.messages.length) resize(retained, 2 * retained.count || 1)
  const index = indexOf(retained, retained.count++)
  retained.messages[index] = message
  retained.numbers[3 * index] = position
  retained.numbers[3 * index + 1] = at
  retained.numbers[3 * index + 2] = size
  if (exceptSid !== undefined) (retained.exceptSids ??= new Map()).set(position, exceptSid)
}

/** Drops the oldest broadcast. */
export const dropOldest = (retained: Retained): void => {
  const { exceptSids, first, messages } = retained
  if (exceptSids?.delete(positionOf(retained, 0)) && exceptSids.size === 0) retained.exceptSids = undefined
  messages[first] = undefined
  retained.first = first + 1 === messages.length ? 0 : first + 1
  retained.count--
  if (retained.count < messages.length / 4) resize(retained, 2 * retained.count)
}

// Copies no more broadcasts than were appended or dropped since it was called last.
const resize = (retained: Retained, length: number): void => {
  const { count, messages: before, numbers: numbersBefore } = retained
  const messages = Array.from<string | undefined>({ length })
  const numbers = Array.from({ length: 3 * length }, () => 0)
  for (let nth = 0; nth < count; nth++) {
    const index = indexOf(retained, nth)
    messages[nth] = before[index]
    for (let part = 0; part < 3; part++) numbers[3 * nth + part] = numbersBefore[3 * index + part]!
  }
  retained.messages = messages
  retained.numbers = numbers
  retained.first = 0
}
