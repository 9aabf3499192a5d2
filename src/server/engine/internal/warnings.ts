/**
 * Warnings in the log about a vhost: rejected triggers, failed requests, new dead letters, and dropped dead letters. The first of a kind is
 * logged immediately, later ones as a count at most every ten seconds.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { DeadLetters } from "../DeadLetters.ts"
import type { Lobby } from "../Lobby.ts"
import * as Timeline from "./timeline.ts"

/** The warnings of one vhost. */
export interface Warnings {
  /** Logs what is due. Run this regularly while `isPending`. */
  readonly log: Effect.Effect<void>
  /** Whether there is something that is not logged yet. */
  readonly isPending: () => boolean
}

/** The minimum time between two warnings of a kind, in milliseconds. */
const pause = 10_000

/** How many characters of the reason of a failure are logged. */
const maxReason = 500

/** Makes the warnings of a vhost. */
export const make = (path: string, lobby: Lobby, deadLetters: DeadLetters, clock: Clock.Clock): Warnings => {
  const watches = [
    watch(
      () => lobby.counters.refused,
      (more) => `The vhost ${path} has rejected ${some(more, "trigger")}: its queue is full`
    ),
    watch(
      () => lobby.requests.counted.failed,
      (more) =>
        `The vhost ${path} has failed ${some(more, "request")}, the last because: ` +
        lobby.requests.lastFailure().slice(0, maxReason)
    ),
    watch(
      () => deadLetters.counters.added,
      (more) => `The vhost ${path} has ${some(more, "new dead letter")}: see kosmonaut dead-letters list`
    ),
    watch(
      () => deadLetters.counters.dropped,
      (more) => `The vhost ${path} has dropped ${some(more, "dead letter")}, the oldest: there are too many`
    )
  ]
  return {
    log: Effect.suspend(() => {
      const now = Timeline.nowOf(clock)
      return Effect.forEach(watches, ({ log }) => log(now), { discard: true })
    }),
    isPending: () => watches.some(({ more }) => more() > 0)
  }
}

const watch = (count: () => number, sentence: (more: number) => string) => {
  let logged = 0
  let next: number | undefined
  const more = () => count() - logged
  const log = (now: number): Effect.Effect<void> => {
    const pending = more()
    if (pending === 0 || next !== undefined && now < next) return Effect.void
    logged += pending
    next = now + pause
    return Effect.logWarning(sentence(pending))
  }
  return { more, log }
}

const some = (count: number, what: string): string => count === 1 ? `1 ${what}` : `${count} ${what}s`
