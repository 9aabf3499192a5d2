/**
 * One direction of a connection in memory: what was sent and not yet read, in order, bounded.
 *
 * Nobody is run by what another does: who waits goes on in a turn of its own, so that an operation of the broker is never
 * entered from within. While the line is silent nothing comes out, and what goes in is held.
 */

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Frames } from "../../protocol/Frame.ts"

/** How many messages may be on their way. */
const limit = 10_000

/** One direction, from its writer to its reader. */
export interface Pipe {
  /** Takes a message where there is room. `false` where there is none, or the other end is known to have gone. */
  readonly offerUnsafe: (frames: Frames) => boolean
  /** Takes a message once there is room. `false` where the other end is known to have gone. */
  readonly offer: (frames: Frames) => Effect.Effect<boolean>
  /** The next messages. Fails after the last. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frames>, Cause.Done>
  /** The writer writes no more. */
  readonly endUnsafe: () => void
  /** The reader reads no more. */
  readonly abandonUnsafe: () => void
  /** The line is broken; where `losing`, with all that was on its way. */
  readonly breakUnsafe: (losing: boolean) => void
  /** The line may have become silent, or audible. */
  readonly lineChangedUnsafe: () => void
}

/** Makes a pipe on a line that can be silent. */
export const make = (isSilent: () => boolean): Pipe => {
  let waiting: Array<Frames> = []
  let ended = false
  let abandoned = false
  const readable = Latch.makeUnsafe()
  const writable = Latch.makeUnsafe(true)

  const update = () => {
    set(readable, abandoned || (!isSilent() && (ended || waiting.length > 0)))
    set(writable, ended || abandoned || waiting.length < limit)
  }
  const offerUnsafe = (frames: Frames): boolean => {
    if (ended) return false
    // Silence hides that nobody reads any more.
    if (abandoned) return isSilent()
    if (waiting.length >= limit) return false
    waiting.push(frames)
    update()
    return true
  }
  const offer = (frames: Frames): Effect.Effect<boolean> =>
    Effect.suspend(() =>
      writable.isOpen() ? Effect.succeed(offerUnsafe(frames)) : Effect.andThen(turn(writable), offer(frames))
    )
  const pull: Pipe["pull"] = Effect.suspend(() => {
    if (!readable.isOpen()) return Effect.andThen(turn(readable), pull)
    const batch = waiting
    waiting = []
    update()
    return Arr.isArrayNonEmpty(batch) ? Effect.succeed(batch) : Effect.fail(Cause.Done())
  })

  return {
    offerUnsafe,
    offer,
    pull,
    endUnsafe: () => {
      ended = true
      update()
    },
    abandonUnsafe: () => {
      abandoned = true
      waiting = []
      update()
    },
    breakUnsafe: (losing) => {
      ended = true
      if (losing) waiting = []
      update()
    },
    lineChangedUnsafe: update
  }
}

/** Waits until a latch is open, and goes on in a turn of its own. */
export const turn = (latch: Latch.Latch): Effect.Effect<void> => Effect.andThen(latch.await, Effect.yieldNow)

const set = (latch: Latch.Latch, open: boolean) => open ? latch.openUnsafe() : latch.closeUnsafe()
