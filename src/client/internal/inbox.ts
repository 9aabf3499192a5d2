/**
 * The events and errors that a worker has received and that wait for a handler. Not a `Queue`, which wakes by a task of the scheduler:
 * handlers begin in the step of the event loop that has read their events. One consumer takes them: who calls `take`, or who is
 * told by `onArrival`.
 */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import type * as Result from "effect/Result"
import type { MessageDecodeError, UnauthorizedError, UntrustedBrokerError } from "../../protocol/KosmonautError.ts"
import type { Event, Origin } from "../../protocol/Trigger.ts"
import type * as Deliveries from "./deliveries.ts"
import type { AnswerError } from "./target.ts"

/** Why something that arrived is not an event. */
export type ProtocolError = Exclude<AnswerError, UnauthorizedError> | MessageDecodeError

/** An event that has arrived, and its origin, if the broker sends it. */
export interface Arrived {
  /** The broker's id of the event; one made here if the broker has none. */
  readonly id: string
  readonly event: Event
  readonly origin: Origin | undefined
  /** If it is a request: when its response is no longer useful, in milliseconds of the monotonic clock. */
  readonly deadline: number | undefined
  /** Settles it, if the broker waits for an ack. */
  readonly delivery: Deliveries.Delivered | undefined
}

/** What arrives. */
export type Item = Result.Result<Arrived, ProtocolError>

/** Why it has ended: as the worker's connection has, or because nothing more comes. */
export type End = UnauthorizedError | UntrustedBrokerError | Cause.Done

/** Items in the order of their arrival. It ends with the worker's connection, or fails with its error. */
export interface Inbox {
  /** Adds an item, for which `flushUnsafe` then wakes its consumer; `false` if there is no room. Ignored after the end. */
  readonly offerUnsafe: (item: Item) => boolean
  /** Adds an item when there is room. */
  readonly offer: (item: Item) => Effect.Effect<void>
  /** Wakes the consumer, if there are items. It begins in this step. */
  readonly flushUnsafe: () => void
  /** Calls this whenever items have arrived, instead of who waits in `take`. */
  readonly onArrival: (consume: () => void) => void
  /** The next item, if there is one. */
  readonly takeUnsafe: () => Item | undefined
  /** Waits for the next item. Fails after the last one if it has ended. */
  readonly take: Effect.Effect<Item, End>
  /** Removes all items. */
  readonly clearUnsafe: () => ReadonlyArray<Item>
  readonly size: () => number
  /** Ends when all items are taken. */
  readonly failUnsafe: (cause: Cause.Cause<End>) => void
}

/** Makes an inbox with room for so many items. */
export const make = (capacity: number): Inbox => {
  const items = MutableList.make<Item>()
  const room = Latch.makeUnsafe(true)
  let end: Exit.Exit<never, End> | undefined
  let wake = nobody

  const takeUnsafe = (): Item | undefined => {
    const item = MutableList.take(items)
    if (item === MutableList.Empty) return undefined
    if (items.length === capacity - 1) room.openUnsafe()
    return item
  }
  const offerUnsafe = (item: Item): boolean => {
    if (end !== undefined) return true
    if (items.length >= capacity) return false
    MutableList.append(items, item)
    return true
  }
  const flushUnsafe = (): void => {
    if (items.length > 0) wake()
  }
  const offer = (item: Item): Effect.Effect<void> =>
    Effect.suspend(() => {
      flushUnsafe()
      if (offerUnsafe(item)) return Effect.sync(flushUnsafe)
      room.closeUnsafe()
      return Effect.andThen(room.await, offer(item))
    })
  return {
    offerUnsafe,
    offer,
    flushUnsafe,
    takeUnsafe,
    onArrival: (consume) => void (wake = consume),
    take: Effect.callback((resume) => {
      const next = () => {
        const item = takeUnsafe()
        const exit = item === undefined ? end : Exit.succeed(item)
        wake = exit === undefined ? next : nobody
        if (exit !== undefined) resume(exit)
      }
      next()
      return Effect.sync(() => {
        wake = nobody
      })
    }),
    clearUnsafe: () => {
      const taken = MutableList.takeAll(items)
      room.openUnsafe()
      return taken
    },
    size: () => items.length,
    failUnsafe: (cause) => {
      if (end !== undefined) return
      flushUnsafe()
      end = Exit.failCause(cause)
      room.openUnsafe()
      wake()
    }
  }
}

const nobody = (): void => {}
