/**
 * Passes events to the consumers that want them, each with a buffer of its own.
 */

import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as EventBuffer from "./eventBuffer.ts"

/** Where the events of a subscription, or those sent to this browser alone, come from. */
export interface EventHub {
  readonly emitUnsafe: (received: EventBuffer.Received) => void
  /** Starts to buffer the events with these names, until the scope ends. */
  readonly open: (names: ReadonlySet<string>) => Effect.Effect<EventBuffer.EventBuffer, never, Scope.Scope>
  /** No more events, for anybody. */
  readonly endUnsafe: (exit?: Exit.Exit<never>) => void
}

interface Consumer {
  readonly names: ReadonlySet<string>
  readonly buffer: EventBuffer.EventBuffer
}

/**
 * Makes one. With `hasBacklog` it keeps events that no consumer has wanted yet, up to the limit of one buffer, for the first
 * consumer that wants them; so that nothing is missed between subscribing and the first consumer.
 */
export const make = ({ hasBacklog, limit, onDrop }: {
  /** How many bytes a consumer may have waiting. */
  readonly limit: number
  readonly hasBacklog: boolean
  readonly onDrop: (first: EventBuffer.Received) => void
}): EventHub => {
  const consumers = new Set<Consumer>()
  const backlog = EventBuffer.make(hasBacklog ? limit : 0, () => {})
  // Names that somebody has wanted.
  const wanted = new Set<string>()
  let end: { readonly exit: Exit.Exit<never> | undefined } | undefined

  return {
    emitUnsafe: (received) => {
      if (hasBacklog && !wanted.has(received.event)) backlog.offerUnsafe(received)
      for (const { buffer, names } of consumers) {
        if (names.has(received.event)) buffer.offerUnsafe(received)
      }
    },
    open: (names) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const buffer = EventBuffer.make(limit, onDrop)
          const isNew = (event: string) => names.has(event) && !wanted.has(event)
          for (const received of backlog.takeUnsafe(isNew)) buffer.offerUnsafe(received)
          for (const name of names) wanted.add(name)
          if (end) buffer.endUnsafe(end.exit)
          const consumer: Consumer = { names, buffer }
          consumers.add(consumer)
          return consumer
        }),
        (consumer) => Effect.sync(() => consumers.delete(consumer))
      ).pipe(Effect.map(({ buffer }) => buffer)),
    endUnsafe: (exit) => {
      end ??= { exit }
      for (const { buffer } of consumers) buffer.endUnsafe(exit)
    }
  }
}
