/**
 * What an operator has to know of a vhost and would not see otherwise, as warnings in the log: triggers that are refused,
 * events that become dead letters, and dead letters that are dropped. Each is said at once, and then with its number for
 * the time that has passed, at most every ten seconds.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { DeadLetters } from "../DeadLetters.ts"
import type { Lobby } from "../Lobby.ts"

/** How long nothing more is said of the same, in milliseconds. */
const pause = 10_000

/** Begins to watch a vhost. What it gives is to be run again and again, and says what there is to say. */
export const make = (path: string, lobby: Lobby, deadLetters: DeadLetters): Effect.Effect<void> => {
  const watches = [
    watch(
      () => lobby.counters.refused,
      (more) => `The vhost ${path} has refused ${some(more, "trigger")}: too many events wait for its workers`
    ),
    watch(
      () => deadLetters.counters.added,
      (more) => `The vhost ${path} has ${some(more, "new dead letter")}: see kosmonaut dead-letters list`
    ),
    watch(
      () => deadLetters.counters.dropped,
      (more) => `The vhost ${path} has dropped ${some(more, "dead letter")}, the oldest: it keeps no more`
    )
  ]
  return Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => Effect.forEach(watches, (tell) => tell(now), { discard: true })
  )
}

const watch = (count: () => number, sentence: (more: number) => string) => {
  let told = 0
  let next = -Infinity
  return (now: number): Effect.Effect<void> => {
    const more = count() - told
    if (more === 0 || now < next) return Effect.void
    told += more
    next = now + pause
    return Effect.logWarning(sentence(more))
  }
}

const some = (count: number, what: string): string => count === 1 ? `1 ${what}` : `${count} ${what}s`
