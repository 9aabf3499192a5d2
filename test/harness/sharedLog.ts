/**
 * A log that several nodes of a test share, in memory, and their queue of lifecycle events.
 */
import { Deferred, Effect, Stream } from "effect"
import {
  type LifecycleEvents,
  type LogEntry,
  LogLostError,
  type NumberedEvent,
  type SharedLog,
  SharedLogError
} from "../../src/server/engine/SharedLog.ts"

/** How the next appends end. `lost`: it has no place; `doubtful`: it has one, and nobody knows. */
export type Failure = "lost" | "doubtful"

/** Makes a log without entries. The time stands still until it is set. */
export const make = () => {
  let epoch = "epoch-1"
  let entries: Array<LogEntry> = []
  let trimmed = 0
  let snapshot: { readonly offset: number; readonly parts: ReadonlyArray<string> } = { offset: 0, parts: [] }
  let time = 0
  let more = Deferred.makeUnsafe<void>()
  let isHeld = false
  let failures: Array<Failure> = []
  const ended = new Set<string>()
  const emitted: Array<NumberedEvent> = []
  let emitFailures = 0
  const givenUp: Array<readonly [node: string, detail: string]> = []

  const wakeAll = () => {
    const woken = more
    more = Deferred.makeUnsafe()
    Deferred.doneUnsafe(woken, Effect.void)
  }
  const tail = () => trimmed + entries.length
  const append = (node: string, entry: string | undefined) => {
    entries.push({ offset: tail() + 1, time, node, entry })
    if (!isHeld) wakeAll()
    return tail()
  }
  const refused = (detail: string, wasAppended: "no" | "maybe", isFenced = false) =>
    Effect.fail(new SharedLogError({ detail, wasAppended, isFenced }))

  /** The log as a node sees it, which reads at most so many entries at a time. */
  const nodeOf = (self: string, batch = Infinity): SharedLog => ({
    self,
    append: (entry) =>
      Effect.andThen(
        Effect.yieldNow,
        Effect.suspend(() => {
          if (ended.has(self)) return refused("the lease has ended", "no", true)
          const failure = failures.shift()
          if (failure === "lost") return refused("cut", "no")
          const offset = append(self, entry)
          return failure === "doubtful" ? refused("cut", "maybe") : Effect.succeed(offset)
        })
      ),
    follow: (of, after) => {
      let read = after
      return Stream.fromEffectRepeat(Effect.gen(function*() {
        for (;;) {
          if (of !== epoch || read < trimmed) {
            return yield* new LogLostError({ detail: of === epoch ? "trimmed" : "other" })
          }
          const part = isHeld ? [] : entries.slice(read - trimmed, read - trimmed + batch)
          if (part.length > 0) {
            read += part.length
            return part
          }
          yield* Deferred.await(more)
        }
      }))
    },
    tail: Effect.sync(tail),
    start: Effect.sync(() => ({ epoch, ...snapshot })),
    storeSnapshot: (of, offset, parts) =>
      Effect.sync(() => {
        if (of !== epoch || offset <= snapshot.offset) return false
        snapshot = { offset, parts }
        return true
      }),
    giveUp: (detail) => Effect.sync(() => void givenUp.push([self, detail]))
  })

  const lifecycle: LifecycleEvents = {
    emit: (_, events) =>
      Effect.suspend(() => {
        if (emitFailures > 0) {
          emitFailures--
          return refused("cut", "maybe")
        }
        emitted.push(...events.filter(({ number }) => number > (emitted.at(-1)?.number ?? 0)))
        return Effect.void
      }),
    emitted: () => Effect.sync(() => emitted.at(-1)?.number ?? 0)
  }

  return {
    nodeOf,
    lifecycle,
    emitted: () => emitted.map(({ event }) => event),
    entries: () => entries,
    /** The nodes that could not go on, and why. */
    givenUp: () => givenUp,
    /** Appends for a node what it has not written. */
    appendFor: (node: string, text: string) => void append(node, text),
    snapshot: () => snapshot,
    setTime: (now: number) => {
      time = now
    },
    failNext: (...next: ReadonlyArray<Failure>) => {
      failures = [...next]
    },
    failEmits: (count: number) => {
      emitFailures = count
    },
    /** Nobody reads anything until it is released. */
    hold: () => {
      isHeld = true
    },
    release: () => {
      isHeld = false
      wakeAll()
    },
    /** The lease of a node ends, which is found at once. */
    endLease: (node: string) => {
      ended.add(node)
      append(node, undefined)
    },
    /** Drops the entries up to an offset. */
    trim: (offset: number) => {
      entries = entries.slice(offset - trimmed)
      trimmed = offset
      wakeAll()
    },
    /** All is lost, and begins anew, with a snapshot if one is given. */
    lose: (next: typeof snapshot = { offset: 0, parts: [] }) => {
      epoch = `${epoch}'`
      entries = []
      trimmed = next.offset
      snapshot = next
      wakeAll()
    }
  }
}
