/**
 * One direction of a connection in memory: messages that were sent and not yet read, in order, bounded.
 *
 * No party runs inside of another: readers and writers that wait continue in a turn of their own, so that an operation of
 * the broker is never entered from within. While the network is silent nothing can be read, and what is sent is held.
 */

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Message } from "../../transport/Transport.ts"

/** How many messages may be sent and not yet read. */
const limit = 10_000

/** One direction, from its writer to its reader. */
export interface Pipe {
  /** Accepts a message if there is room. `false` if there is none, or the reader is known to be gone. */
  readonly offerUnsafe: (message: Message) => boolean
  /** Accepts a message once there is room. `false` if the reader is known to be gone. */
  readonly offer: (message: Message) => Effect.Effect<boolean>
  /** The next messages. Fails after the last. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Message>, Cause.Done>
  /** The writer writes no more. */
  readonly endUnsafe: () => void
  /** The reader reads no more. */
  readonly abandonUnsafe: () => void
  /** The network was cut; if `isLosing`, messages that are not yet read are lost. */
  readonly cutUnsafe: (isLosing: boolean) => void
  /** The network may have become silent, or was restored. */
  readonly updateUnsafe: () => void
}

/** Makes a pipe on a network that can be silent. */
export const make = (isSilent: () => boolean): Pipe => {
  let messages: Array<Message> = []
  let hasEnded = false
  let isAbandoned = false
  const readable = Latch.makeUnsafe()
  const writable = Latch.makeUnsafe(true)

  const updateUnsafe = () => {
    set(readable, isAbandoned || (!isSilent() && (hasEnded || messages.length > 0)))
    set(writable, hasEnded || isAbandoned || messages.length < limit)
  }
  const offerUnsafe = (message: Message): boolean => {
    if (hasEnded) return false
    // On a silent network the sender cannot know that nothing is read any more.
    if (isAbandoned) return isSilent()
    if (messages.length >= limit) return false
    messages.push(message)
    updateUnsafe()
    return true
  }
  const offer = (message: Message): Effect.Effect<boolean> =>
    Effect.suspend(() =>
      writable.isOpen() ? Effect.succeed(offerUnsafe(message)) : Effect.andThen(turn(writable), offer(message))
    )
  const pull: Pipe["pull"] = Effect.suspend(() => {
    if (!readable.isOpen()) return Effect.andThen(turn(readable), pull)
    const batch = messages
    messages = []
    updateUnsafe()
    return Arr.isArrayNonEmpty(batch) ? Effect.succeed(batch) : Effect.fail(Cause.Done())
  })

  return {
    offerUnsafe,
    offer,
    pull,
    endUnsafe: () => {
      hasEnded = true
      updateUnsafe()
    },
    abandonUnsafe: () => {
      isAbandoned = true
      messages = []
      updateUnsafe()
    },
    cutUnsafe: (isLosing) => {
      hasEnded = true
      if (isLosing) messages = []
      updateUnsafe()
    },
    updateUnsafe
  }
}

/** Waits until a latch is open, and continues in a turn of its own. */
export const turn = (latch: Latch.Latch): Effect.Effect<void> => Effect.andThen(latch.await, Effect.yieldNow)

const set = (latch: Latch.Latch, isOpen: boolean) => isOpen ? latch.openUnsafe() : latch.closeUnsafe()
