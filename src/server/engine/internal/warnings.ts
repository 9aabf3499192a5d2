/**
 * Warnings in the log about a vhost: rejected triggers, failed requests, new dead letters, and dropped dead letters. The first of a kind is
 * logged immediately, later ones as a count at most every ten seconds.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Throttle from "../../../protocol/Throttle.ts"
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
  const throttle = Throttle.make()
  let seen = 0
  const more = () => {
    throttle.add(count() - seen)
    seen = count()
    return throttle.pending()
  }
  const log = (now: number): Effect.Effect<void> => {
    more()
    const due = throttle.take(now)
    return due === 0 ? Effect.void : Effect.logWarning(sentence(due))
  }
  return { more, log }
}

const some = (count: number, what: string): string => count === 1 ? `1 ${what}` : `${count} ${what}s`
