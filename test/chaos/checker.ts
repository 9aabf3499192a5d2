/**
 * Judges the history of a run: what pages were told was accepted, against what workers say that they have handled.
 */

/** What a worker wrote down when it had handled an event. */
export interface Handling {
  /** The event's number, which the page gave it. */
  readonly n: number
  /** The event's name, as the broker gave it; none from a broker that does not wait for acknowledgements. */
  readonly id?: string | undefined
  readonly attempt: number
}

/** What happened. */
export interface History {
  /** The numbers of the triggers that were not answered with an error. */
  readonly accepted: ReadonlyArray<number>
  /** The numbers of those that were. */
  readonly refused: ReadonlyArray<number>
  readonly handlings: ReadonlyArray<Handling>
}

/** What is to be said of it. */
export interface Verdict {
  /** How often an event was handled that had been before. */
  readonly duplicates: number
  /** The events that nobody has handled. */
  readonly losses: ReadonlyArray<number>
  /** What must not be, whatever happens, in words. */
  readonly wrongs: ReadonlyArray<string>
}

/**
 * Every accepted event is handled at least once, and no other. One that is handled again says so: of its handlings at most
 * one is a first attempt, and no two are the same attempt. An event has one name, and a name one event.
 */
export const check = ({ accepted, handlings, refused }: History): Verdict => {
  const wrongs: Array<string> = []
  const known = new Set(accepted)
  const refusals = new Set(refused)
  const ids = new Map<number, string | undefined>()
  const numbers = new Map<string, number>()
  const attempts = new Set<string>()
  let duplicates = 0
  for (const { attempt, id, n } of handlings) {
    if (!known.has(n)) wrongs.push(`${n} was handled, but ${refusals.has(n) ? "refused" : "never triggered"}`)
    if (ids.has(n)) duplicates++
    if (ids.has(n) && ids.get(n) !== id) wrongs.push(`${n} has two names, ${ids.get(n)} and ${id}`)
    ids.set(n, id)
    if (id !== undefined && (numbers.get(id) ?? n) !== n) wrongs.push(`${numbers.get(id)} and ${n} are both ${id}`)
    if (id !== undefined) numbers.set(id, n)
    if (attempts.has(`${n} ${attempt}`)) wrongs.push(`attempt ${attempt} of ${n} was handled twice`)
    attempts.add(`${n} ${attempt}`)
  }
  return { duplicates, losses: accepted.filter((n) => !ids.has(n)), wrongs }
}
