/**
 * What a broker does by itself: heartbeats to workers and the end of silent ones at every interval, and redeliveries when
 * their backoff ends. Nothing runs while no vhost has anything to do.
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Lobby } from "../Lobby.ts"
import { supervised } from "./supervised.ts"
import * as Timeline from "./timeline.ts"
import type { Warnings } from "./warnings.ts"

/** What is looked after of a vhost. */
interface Watched {
  readonly vhost: { readonly path: string; readonly lobby: Lobby }
  readonly warnings: Warnings
}

/** The work, each to be run in a fiber of its own. */
export interface Background {
  /** There may be something to do. */
  readonly wake: () => void
  readonly heartbeats: Effect.Effect<never>
  readonly redeliveries: Effect.Effect<never>
}

/** Describes the work for vhosts that come and go. */
export const make = (interval: Duration.Duration, clock: Clock.Clock, vhosts: () => Iterable<Watched>): Background => {
  const isActive = Latch.makeUnsafe(false)
  const isEarlier = Latch.makeUnsafe(false)
  const forAll = (work: (watched: Watched) => Effect.Effect<void>, afterDefect: Effect.Effect<void> = Effect.void) =>
    Effect.suspend(() =>
      Effect.forEach([...vhosts()], (watched) => guarded(watched, work, afterDefect), { discard: true })
    )

  const tick = forAll(({ vhost, warnings }) => Effect.andThen(vhost.lobby.tick, warnings.log))
  const rest = Effect.sync(() => {
    const isNeeded = [...vhosts()].some(({ vhost, warnings }) => vhost.lobby.isActive() || warnings.isPending())
    if (!isNeeded) isActive.closeUnsafe()
  })
  const heartbeats = isActive.await.pipe(
    Effect.andThen(Effect.sleep(interval)),
    Effect.andThen(tick),
    Effect.andThen(rest),
    Effect.forever
  )

  const nextDue = () => Math.min(...Array.from(vhosts(), ({ vhost }) => vhost.lobby.nextDue() ?? Infinity))
  // What is still due after a defect is tried again at once.
  const redeliver = forAll(({ vhost }) => vhost.lobby.redeliver, Effect.sleep("1 second"))
  const redeliveries = Effect.suspend(() => {
    isEarlier.closeUnsafe()
    const due = nextDue()
    if (due === Infinity) return isEarlier.await
    const wait = due - Timeline.nowOf(clock)
    return wait <= 0 ? redeliver : Effect.asVoid(Effect.timeoutOption(isEarlier.await, Duration.millis(wait)))
  }).pipe(Effect.forever)

  return {
    wake: () => {
      isActive.openUnsafe()
      isEarlier.openUnsafe()
    },
    heartbeats: supervised("The broker's heartbeat", heartbeats),
    redeliveries: supervised("The redelivery of events", redeliveries)
  }
}

// A defect of one vhost is not the others'.
const guarded = (
  watched: Watched,
  work: (watched: Watched) => Effect.Effect<void>,
  afterDefect: Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.catchDefect(
    Effect.suspend(() => work(watched)),
    (defect) => Effect.andThen(Effect.logError(`The vhost ${watched.vhost.path} has failed`, defect), afterDefect)
  )
