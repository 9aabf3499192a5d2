/**
 * The background work of a broker: it sends heartbeats and expires workers at every interval, redelivers events when their
 * backoff ends, disconnects browsers when their authentication ends, ends the graces of members, and drops what is retained no longer. Nothing runs while no vhost has anything to do.
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Authentications } from "../Authentications.ts"
import type { Lobby } from "../Lobby.ts"
import type { Log } from "../Log.ts"
import { supervised } from "../Supervisor.ts"
import * as Timeline from "./timeline.ts"
import type { Warnings } from "./warnings.ts"

/** A vhost, its log and its warnings. */
interface Watched {
  readonly vhost: { readonly path: string; readonly lobby: Lobby; readonly authentications: Authentications }
  readonly log: Pick<Log, "nextDue" | "sweep">
  readonly warnings: Warnings
}

/** The work; run `heartbeats` and `redeliveries` in a fiber each. */
export interface Background {
  /** Call this when there may be something to do. */
  readonly wake: () => void
  readonly heartbeats: Effect.Effect<never>
  readonly redeliveries: Effect.Effect<never>
}

/** Makes the background work for vhosts that are added and removed. */
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

  const nextDue = () =>
    Math.min(
      ...Array.from(vhosts(), ({ log, vhost: { authentications, lobby } }) =>
        Math.min(lobby.nextDue() ?? Infinity, authentications.nextDue() ?? Infinity, log.nextDue() ?? Infinity))
    )
  // After a defect the same is still due, so pause before retrying it. None of these stops the others.
  const pause = Effect.sleep("1 second")
  const redeliver = Effect.all([
    forAll(({ log }) => log.sweep, pause),
    forAll(({ vhost }) => vhost.authentications.sweep, pause),
    forAll(({ vhost }) => vhost.lobby.redeliver, pause)
  ], { discard: true })
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

// A defect in one vhost must not stop the others.
const guarded = (
  watched: Watched,
  work: (watched: Watched) => Effect.Effect<void>,
  afterDefect: Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.catchDefect(
    Effect.suspend(() => work(watched)),
    (defect) => Effect.andThen(Effect.logError(`The vhost ${watched.vhost.path} has failed`, defect), afterDefect)
  )
