/**
 * The lifecycle events that all nodes have decided alike, in the queue that they share: the cursor of what was emitted is stored in
 * the step that enqueues, so that each event is enqueued once, whoever emits it and however often.
 */

import * as Effect from "effect/Effect"
import { sizeOf } from "../EventQueue.ts"
import { type LifecycleEvents, type NumberedEvent, SharedLogError } from "../SharedLog.ts"
import { Call } from "../SharedQueue.ts"
import { notQueued } from "./refusal.ts"
import type { SharedEventQueue } from "./sharedQueue.ts"

/** Makes it for a node, whose workers get events of at most `largest` bytes: larger ones are dropped. */
export const make = (queue: SharedEventQueue, largest: number): LifecycleEvents => {
  const emit = (epoch: string, events: ReadonlyArray<NumberedEvent>) =>
    Effect.mapBoth(queue.call(Call.Emit({ epoch, events: events.map((event) => textOf(event, largest)) })), {
      onSuccess: ({ answer }) => Number(answer),
      onFailure: (error) =>
        new SharedLogError({
          detail: notQueued(error).message,
          wasAppended: error.maybeQueued ? "maybe" : "no",
          isFenced: false
        })
    })
  return {
    emit: (epoch, events) => Effect.asVoid(emit(epoch, events)),
    emitted: (epoch) => emit(epoch, [])
  }
}

const textOf = ({ event: { data, event }, number }: NumberedEvent, largest: number) => {
  const json = JSON.stringify({ [event]: data })
  const size = sizeOf(json, undefined)
  return size > largest ? { number, json: "", size: 0 } : { number, json, size }
}
