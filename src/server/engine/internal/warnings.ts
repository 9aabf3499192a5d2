/**
 * What an operator has to know of a vhost and would not see otherwise, as warnings in the log: triggers that are refused,
 * events that become dead letters, and dead letters that are dropped. Each is logged at once, and then with its number for
 * the time that has passed, at most every ten seconds.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { DeadLetters } from "../DeadLetters.ts"
import type { Lobby } from "../Lobby.ts"
import * as Timeline from "./timeline.ts"

/** The warnings of one vhost. */
export interface Warnings {
  /** Logs what there is to log. To be run again and again while `isPending`. */
  readonly log: Effect.Effect<void>
  /** Whether something has happened that is not logged yet. */
  readonly isPending: () => boolean
}

/** How long nothing more is logged of the same, in milliseconds. */
const pause = 10_000

/** Begins to watch a vhost. */
export const make = (path: string, lobby: Lobby, deadLetters: DeadLetters, clock: Clock.Clock): Warnings => {
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
      (more) => `The vhost ${path} has dropped ${some(more, "dead letter")}, the oldest: there is no room for more`
    )
  ]
  return {
    log: Effect.suspend(() => {
      const now = Timeline.nowOf(clock)
      return Effect.forEach(watches, ({ tell }) => tell(now), { discard: true })
    }),
    isPending: () => watches.some(({ more }) => more() > 0)
  }
}

const watch = (count: () => number, sentence: (more: number) => string) => {
  let told = 0
  let next = -Infinity
  const more = () => count() - told
  const tell = (now: number): Effect.Effect<void> => {
    const untold = more()
    if (untold === 0 || now < next) return Effect.void
    told += untold
    next = now + pause
    return Effect.logWarning(sentence(untold))
  }
  return { more, tell }
}

const some = (count: number, what: string): string => count === 1 ? `1 ${what}` : `${count} ${what}s`
