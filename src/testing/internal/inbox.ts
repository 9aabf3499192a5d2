/**
 * The events that a browser has received, in order, and which of them a test has taken.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as Json from "../../protocol/Json.ts"
import type { Event } from "../../protocol/Trigger.ts"
import { turn } from "./pipe.ts"

/** The events of one browser. */
export interface Inbox {
  /** Receives a message of the broker; ignored once the connection has ended. */
  readonly receiveUnsafe: (message: string) => void
  /** Ends the connection; the first close code counts. */
  readonly endUnsafe: (code: number) => void
  readonly hasEnded: () => boolean
  /** How many events were received. */
  readonly size: () => number
  /** Takes the first event of this name that was not taken yet, from `from` on, and returns its data. */
  readonly take: (event: string, from?: number) => Json.JsonObject | undefined
  /** Waits for it and takes it. Fails when the connection has ended. */
  readonly next: (event: string) => Effect.Effect<Json.JsonObject, void>
  /** All events, taken or not. */
  readonly received: Effect.Effect<ReadonlyArray<Event>>
  /** Waits until the connection has ended, and returns the close code. */
  readonly ended: Effect.Effect<number>
}

/** Makes an empty inbox. */
export const make = (): Inbox => {
  const events: Array<Event> = []
  const taken = new Set<Event>()
  const ended = Latch.makeUnsafe()
  const changed = Latch.makeUnsafe()
  let closeCode = 0
  // All that wait look again, each in a turn of its own.
  const announce = () => {
    changed.openUnsafe()
    changed.closeUnsafe()
  }
  const take: Inbox["take"] = (name, from = 0) => {
    const found = events.find((event, index) => index >= from && event.event === name && !taken.has(event))
    if (found !== undefined) taken.add(found)
    return found?.data
  }
  const next: Inbox["next"] = (event) =>
    Effect.suspend(() => {
      const data = take(event)
      if (data !== undefined) return Effect.succeed(data)
      return ended.isOpen() ? Effect.fail(undefined) : Effect.andThen(turn(changed), next(event))
    })

  return {
    receiveUnsafe: (message) => {
      const entry = Json.single(Result.getOrUndefined(Result.try(() => JSON.parse(message) as unknown)))
      if (entry === undefined || ended.isOpen()) return
      events.push({ event: entry[0], data: entry[1] })
      announce()
    },
    endUnsafe: (code) => {
      if (ended.isOpen()) return
      closeCode = code
      ended.openUnsafe()
      announce()
    },
    hasEnded: () => ended.isOpen(),
    size: () => events.length,
    take,
    next,
    received: Effect.sync(() => [...events]),
    ended: Effect.map(turn(ended), () => closeCode)
  }
}
