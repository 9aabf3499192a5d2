/**
 * The dead letters of one vhost: events whose handlers failed too often, or that were lost too often. They stay until they are
 * replayed or discarded.
 *
 * There are at most `deadLetterCapacity` of them with `deadLetterSize` bytes; beyond that the oldest are dropped and counted.
 * Dead letters that no worker could decode or had a handler for (`isUnhandled`) are dropped first: a browser can trigger any
 * number of such events, and must not displace failures of the application.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Journal from "./Journal.ts"

/**
 * An event that failed too often.
 *
 * @since 0.1.0
 */
export interface DeadLetter {
  /** The id of the event in its vhost, the same that its handlers had. */
  readonly id: string
  /** The text of `{"<event>": {…}}`. */
  readonly json: string
  /** The text of its origin. */
  readonly origin: string | undefined
  /** How often it was delivered. */
  readonly attempts: number
  /** Why it failed, as the worker or the broker reported it, at most 500 characters. */
  readonly reason: string
  /** When it became a dead letter, in whole milliseconds since 1970. */
  readonly failedAt: number
}

/**
 * The dead letters of one vhost.
 *
 * @since 0.1.0
 */
export interface DeadLetters {
  /** Adds one. */
  readonly add: (letter: Omit<DeadLetter, "failedAt">) => Effect.Effect<void>
  /** Adds one in the same step. */
  readonly addUnsafe: (letter: Omit<DeadLetter, "failedAt">) => void
  /** All of them, the oldest first. */
  readonly list: Effect.Effect<ReadonlyArray<DeadLetter>>
  /** Removes and returns one; `undefined` if none has this id. */
  readonly take: (id: string) => Effect.Effect<DeadLetter | undefined>
  /** Removes and returns all, the oldest first. */
  readonly takeAll: Effect.Effect<ReadonlyArray<DeadLetter>>
  /** How many there are now, and how many were added and dropped since the start. */
  readonly counters: { readonly count: number; readonly added: number; readonly dropped: number }
}

/**
 * Whether an event failed only because its worker could not decode it or has no handler for it. The reason of such a failure
 * begins with the error's name, with or without its module, and a colon.
 *
 * @since 0.1.0
 */
export const isUnhandled = ({ reason }: Pick<DeadLetter, "reason">): boolean => unhandled.test(reason)

const unhandled =
  /^(?:kosmonaut\/protocol\/KosmonautError\/)?(?:UndefinedHandlerError|InvalidEventNameError|MessageDecodeError):/

/**
 * Makes a vhost's dead letters, with the restored ones.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly deadLetterCapacity: number
  readonly deadLetterSize: number
  readonly clock: Clock.Clock
  /** Called when one is added. */
  readonly wake?: (() => void) | undefined
  /** Records their changes, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** The dead letters to restore, the oldest first. */
  readonly letters?: ReadonlyArray<DeadLetter> | undefined
}): DeadLetters => {
  const journal = options.journal ?? Journal.none
  const letters = new Map<string, DeadLetter>()
  // The unhandled ones, which are dropped first.
  const leastImportant = new Map<string, DeadLetter>()
  let size = 0
  let added = 0
  let dropped = 0

  const insert = (letter: DeadLetter) => {
    letters.set(letter.id, letter)
    if (isUnhandled(letter)) leastImportant.set(letter.id, letter)
    size += sizeOf(letter)
  }
  const remove = (letter: DeadLetter) => {
    letters.delete(letter.id)
    leastImportant.delete(letter.id)
    size -= sizeOf(letter)
    journal.deleted("DeadLetter", letter.id)
  }
  const dropOldest = () => {
    for (const some of [leastImportant, letters]) {
      for (const oldest of some.values()) {
        if (letters.size <= options.deadLetterCapacity && size <= options.deadLetterSize) return
        remove(oldest)
        dropped++
      }
    }
  }
  const addUnsafe: DeadLetters["addUnsafe"] = (letter) => {
    const failedAt = Math.floor(options.clock.currentTimeMillisUnsafe())
    const dead = { ...letter, reason: letter.reason.slice(0, 500), failedAt }
    insert(dead)
    added++
    journal.created({ _tag: "DeadLetter", ...dead, origin: dead.origin ?? null })
    dropOldest()
    options.wake?.()
  }
  options.letters?.forEach(insert)
  // The restored ones may exceed today's limits.
  dropOldest()

  return {
    add: (letter) => Effect.sync(() => addUnsafe(letter)),
    addUnsafe,

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
      get count() {
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
