/**
 * Emits the lifecycle events that all nodes have decided alike, each once.
 *
 * The leader emits them, in their order. The others keep those that it may not have emitted, so that nothing is lost if it
 * ends, and the queue leaves out what it has already. Beyond `maxPending` the oldest are dropped, which is logged.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Event } from "../../../protocol/Trigger.ts"
import type { LifecycleEvents, NumberedEvent } from "../SharedLog.ts"
import { leaderOf, type Replica } from "./replica.ts"

/** How many events a node keeps that may not be emitted yet. */
const maxPending = 100_000

/** How many are emitted at a time, and how many a node that does not lead keeps before it asks which are emitted. */
const part = 1000

/** How many milliseconds pass before a failed one is repeated. */
const pause = 500

/** Emits what is pending. */
export interface Emitter {
  /** Call it when there may be something to emit, or another leader. */
  readonly wake: () => void
  readonly run: Effect.Effect<never>
}

/** Makes an emitter. Without `lifecycle` the events go to the queue of the node that leads, by `emit`. */
export const make = (
  replica: Replica,
  { emit, lifecycle }: {
    readonly emit: (event: Event) => void
    readonly lifecycle: LifecycleEvents | undefined
  }
): Emitter => {
  const isWoken = Latch.makeUnsafe(false)
  const leads = () => leaderOf(replica) === replica.self
  if (lifecycle === undefined) {
    const wake = () => {
      const events = replica.pending.splice(0)
      if (leads()) { for (const { event } of events) emit(event) }
    }
    return { wake, run: Effect.never }
  }
  const needed = () => replica.pending.length >= (leads() ? 1 : part)
  const step = Effect.suspend(() => {
    const { pending, state: { epoch } } = replica
    if (!needed()) return Effect.sync(() => void isWoken.closeUnsafe())
    const events = pending.slice(0, part)
    const emitted = leads()
      ? Effect.as(lifecycle.emit(epoch, events), events.at(-1)!.number)
      : lifecycle.emitted(epoch)
    return Effect.flatMap(emitted, (number) => {
      const before = replica.pending.length
      if (replica.state.epoch === epoch) forget(replica, number)
      // The leader is behind, so ask again later.
      return replica.pending.length === before ? Effect.sleep(pause) : Effect.void
    })
  })
  return {
    wake: () => {
      if (needed()) isWoken.openUnsafe()
    },
    run: isWoken.await.pipe(
      Effect.andThen(dropExcess(replica)),
      Effect.andThen(Effect.catch(step, () => Effect.sleep(pause))),
      Effect.forever
    )
  }
}

const forget = ({ pending }: Replica, upTo: number): void => {
  const index = pending.findIndex(({ number }) => number > upTo)
  pending.splice(0, index === -1 ? pending.length : index)
}

const dropExcess = (replica: Replica) =>
  Effect.suspend(() => {
    const excess = replica.pending.length - maxPending
    if (excess <= 0) return Effect.void
    const dropped: ReadonlyArray<NumberedEvent> = replica.pending.splice(0, excess)
    return Effect.logError(
      `${dropped.length} lifecycle events are lost: the event queue cannot be reached, and ${maxPending} wait, the limit`
    )
  })
