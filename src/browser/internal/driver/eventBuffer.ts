/**
 * Events that wait for one consumer, in order, bounded by bytes: beyond the limit the oldest are dropped.
 */

import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Result from "effect/Result"
import type * as Event from "../../../events/Event.ts"
import type { JsonObject } from "../../../protocol/Json.ts"
import type { MessageDecodeError } from "../../../protocol/KosmonautError.ts"
import type { Cursor } from "../../Subscription.ts"

/** An event as it was received. Consumers share it. */
export interface Received {
  /** Its name on the wire. */
  readonly event: string
  readonly data: JsonObject
  /** Where the subscription is with it. */
  readonly cursor?: Cursor | undefined
  /** What it takes in memory, about. */
  readonly bytes: number
  /** What a declaration made of it, set by the first consumer that decodes it. */
  decoded?: { readonly by: Event.Any; readonly data: Result.Result<unknown, MessageDecodeError> }
}

/** The events that wait for a consumer. */
export interface EventBuffer {
  readonly offerUnsafe: (received: Received) => void
  /** Waits for events, and takes all there are. Ends after the last one. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Received>, Cause.Done>
  /** Takes the events that satisfy this, and leaves the others. */
  readonly takeUnsafe: (isWanted: (event: string) => boolean) => ReadonlyArray<Received>
  /** No more events. With a cause the consumer dies of it. */
  readonly endUnsafe: (exit?: Exit.Exit<never>) => void
}

/** Makes an empty one. `onDrop` is called with the first event of each series that is dropped. */
export const make = (limit: number, onDrop: (first: Received) => void): EventBuffer => {
  let events: Array<Received> = []
  // The oldest is here. What is before it was dropped.
  let head = 0
  let bytes = 0
  let isDropping = false
  let end: Exit.Exit<never, Cause.Done> | undefined
  const readable = Latch.makeUnsafe()

  // In a turn of its own: all that was received at once is taken together.
  const next = Effect.andThen(readable.await, Effect.yieldNow)

  const replace = (rest: Array<Received>) => {
    events = rest
    head = 0
    bytes = rest.reduce((sum, received) => sum + received.bytes, 0)
    isDropping = false
    if (rest.length === 0 && end === undefined) readable.closeUnsafe()
  }
  const drop = () => {
    const oldest = events[head]!
    bytes -= oldest.bytes
    head++
    if (!isDropping) onDrop(oldest)
    isDropping = true
    // A copy for every so many, not for each.
    if (head * 2 < events.length) return
    events = events.slice(head)
    head = 0
  }
  const pull: EventBuffer["pull"] = Effect.suspend(() => {
    const batch = head === 0 ? events : events.slice(head)
    if (!Arr.isArrayNonEmpty(batch)) return end ?? Effect.andThen(next, pull)
    replace([])
    return Effect.succeed(batch)
  })

  return {
    offerUnsafe: (received) => {
      if (end !== undefined) return
      events.push(received)
      bytes += received.bytes
      while (bytes > limit && events.length - head > 1) drop()
      readable.openUnsafe()
    },
    pull,
    takeUnsafe: (isWanted) => {
      const all = events.slice(head)
      replace(all.filter(({ event }) => !isWanted(event)))
      return all.filter(({ event }) => isWanted(event))
    },
    endUnsafe: (exit) => {
      end ??= exit ?? Exit.fail(Cause.Done())
      readable.openUnsafe()
    }
  }
}
