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
import type { InternalError } from "../../protocol/KosmonautError.ts"
import * as SizedMap from "../../protocol/SizedMap.ts"
import { ownText } from "./internal/ownText.ts"
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
  readonly add: (letter: Omit<DeadLetter, "failedAt">) => Effect.Effect<void, InternalError>
  /** All of them, the oldest first. Fails only if several brokers share them, and they cannot be reached. */
  readonly list: Effect.Effect<ReadonlyArray<DeadLetter>, InternalError>
  /** Removes and returns one; `undefined` if none has this id. */
  readonly take: (id: string) => Effect.Effect<DeadLetter | undefined, InternalError>
  /** Removes and returns all, the oldest first. */
  readonly takeAll: Effect.Effect<ReadonlyArray<DeadLetter>, InternalError>
  /** How many there are now, and how many were added and dropped since the start. */
  readonly counters: { readonly count: number; readonly added: number; readonly dropped: number }
}

/**
 * The dead letters of a single broker. Each operation is one synchronous step.
 *
 * @since 0.1.0
 */
export interface LocalDeadLetters extends DeadLetters {
  readonly list: Effect.Effect<ReadonlyArray<DeadLetter>>
  readonly take: (id: string) => Effect.Effect<DeadLetter | undefined>
  readonly takeAll: Effect.Effect<ReadonlyArray<DeadLetter>>
  readonly add: (letter: Omit<DeadLetter, "failedAt">) => Effect.Effect<void>
  /** Adds one in the same step. */
  readonly addUnsafe: (letter: Omit<DeadLetter, "failedAt">) => void
}

/**
 * Whether an event failed only because its worker could not decode it or has no handler for it. The reason of such a failure
 * begins with the error's name, with or without its module, and a colon.
 *
 * @since 0.1.0
 */
export const isUnhandled = ({ reason }: Pick<DeadLetter, "reason">): boolean => reasonIfUnhandled.test(reason)

const reasonIfUnhandled =
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
}): LocalDeadLetters => {
  const journal = options.journal ?? Journal.none
  const letters = SizedMap.make(sizeOf)
  // The unhandled ones, which are dropped first.
  const unhandled = SizedMap.make<DeadLetter>(() => 0)
  const counters = { count: 0, added: 0, dropped: 0 }

  const insert = (letter: DeadLetter) => {
    letters.set(letter.id, letter)
    counters.count = letters.entries.size
    if (isUnhandled(letter)) unhandled.set(letter.id, letter)
  }
  const remove = (letter: DeadLetter) => {
    letters.remove(letter.id)
    unhandled.remove(letter.id)
    counters.count = letters.entries.size
    journal.deleted("DeadLetter", letter.id)
    return letter
  }
  const dropOldest = () => {
    while (counters.count > options.deadLetterCapacity || letters.size() > options.deadLetterSize) {
      const [, oldest] = unhandled.removeOldest() ?? letters.removeOldest()!
      remove(oldest)
      counters.dropped++
    }
  }
  const addUnsafe: LocalDeadLetters["addUnsafe"] = (letter) => {
    const failedAt = Math.floor(options.clock.currentTimeMillisUnsafe())
    const dead = { ...letter, reason: ownText(letter.reason.slice(0, 500)), failedAt }
    insert(dead)
    counters.added++
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

    list: Effect.sync(() => [...letters.entries.values()]),

    take: (id) =>
      Effect.sync(() => {
        const letter = letters.entries.get(id)
        return letter && remove(letter)
      }),

    takeAll: Effect.sync(() => Array.from(letters.entries.values(), remove)),

    counters
  }
}

// In memory a code unit has two bytes.
const sizeOf = ({ json, origin, reason }: DeadLetter): number =>
  (json.length + (origin?.length ?? 0) + reason.length) * 2
