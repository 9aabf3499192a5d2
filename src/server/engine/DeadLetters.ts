/**
 * Events of one vhost that nobody will handle any more: their handlers failed as often as they may. They are kept, so that
 * a person can look at them, and have them handled again or thrown away.
 *
 * At most `deadLetterCapacity` are kept, and `deadLetterSize` bytes; beyond it the oldest are dropped, and counted.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Journal from "./Journal.ts"

/**
 * An event that nobody will handle any more.
 *
 * @since 0.1.0
 */
export interface DeadLetter {
  /** The event's name in its vhost, as its handlers had it. */
  readonly id: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin: string | undefined
  /** How often it was handed out. */
  readonly attempts: number
  /** What the last worker said of the failure, at most 500 characters. */
  readonly reason: string
  /** When that was, in milliseconds since 1970. */
  readonly failedAt: number
}

/**
 * The dead letters of one vhost.
 *
 * @since 0.1.0
 */
export interface DeadLetters {
  /** Keeps one more. */
  readonly add: (letter: Omit<DeadLetter, "failedAt">) => Effect.Effect<void>
  /** All that are kept, the oldest first. */
  readonly list: Effect.Effect<ReadonlyArray<DeadLetter>>
  /** Takes one out, `undefined` where there is none of this id. */
  readonly take: (id: string) => Effect.Effect<DeadLetter | undefined>
  /** Takes all out, the oldest first. */
  readonly takeAll: Effect.Effect<ReadonlyArray<DeadLetter>>
  /** How many are kept, and how many were added and dropped since the start. */
  readonly counters: { readonly kept: number; readonly added: number; readonly dropped: number }
}

/**
 * Makes a vhost's dead letters, with those that an earlier broker has left.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly deadLetterCapacity: number
  readonly deadLetterSize: number
  /** Where it is noted what becomes of them, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** What the journal knows of, the oldest first. */
  readonly letters?: ReadonlyArray<DeadLetter> | undefined
}): DeadLetters => {
  const journal = options.journal ?? Journal.none
  const letters = new Map<string, DeadLetter>()
  let size = 0
  let added = 0
  let dropped = 0

  const keep = (letter: DeadLetter) => {
    letters.set(letter.id, letter)
    size += sizeOf(letter)
  }
  const remove = (letter: DeadLetter) => {
    letters.delete(letter.id)
    size -= sizeOf(letter)
    journal.forget("DeadLetter", letter.id)
  }
  const dropOldest = () => {
    for (const oldest of letters.values()) {
      if (letters.size <= options.deadLetterCapacity && size <= options.deadLetterSize) return
      remove(oldest)
      dropped++
    }
  }
  options.letters?.forEach(keep)
  // The bounds may have been others.
  dropOldest()

  return {
    add: (letter) =>
      Effect.map(Clock.currentTimeMillis, (failedAt) => {
        const dead = { ...letter, reason: letter.reason.slice(0, 500), failedAt }
        keep(dead)
        added++
        journal.noteNew({ _tag: "DeadLetter", ...dead, origin: dead.origin ?? null })
        dropOldest()
      }),

    list: Effect.sync(() => [...letters.values()]),

    take: (id) =>
      Effect.sync(() => {
        const letter = letters.get(id)
        if (letter !== undefined) remove(letter)
        return letter
      }),

    takeAll: Effect.sync(() => {
      const all = [...letters.values()]
      all.forEach(remove)
      return all
    }),

    counters: {
      get kept() {
        return letters.size
      },
      get added() {
        return added
      },
      get dropped() {
        return dropped
      }
    }
  }
}

// In memory a code unit has two bytes.
const sizeOf = ({ json, origin, reason }: DeadLetter): number =>
  (json.length + (origin?.length ?? 0) + reason.length) * 2
