/**
 * One who follows the log of a vhost: its position, and the entries that were read and not taken yet.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { type LogEntry, LogLostError, maxEntrySize } from "../../engine/SharedLog.ts"

/** The follower. */
export interface Follower {
  readonly vhost: string
  readonly epoch: string
  /** The offset of the last entry that was read. */
  readonly position: () => number
  /** That entry; `undefined` before the first one. */
  readonly last: () => LogEntry | undefined
  /** Whether more may be read for it. */
  readonly hasRoom: () => boolean
  /** Gives it the next entries. `false`, and nothing is given, if they do not come right after its position. */
  readonly push: (entries: ReadonlyArray<LogEntry>) => boolean
  /** Ends it. What was read is still taken. */
  readonly fail: (detail: string) => void
  readonly hasFailed: () => boolean
  /** Waits for entries, and takes them. */
  readonly take: Effect.Effect<ReadonlyArray<LogEntry>, LogLostError>
}

/** How many characters may be read and not taken. Beyond that nothing more is read for it. */
const capacity = 4 * maxEntrySize

/** Makes one. `onRoom` is called when there is room again. */
export const make = (vhost: string, epoch: string, after: number, onRoom: () => void): Follower => {
  const hasNews = Latch.makeUnsafe(false)
  let position = after
  let last: LogEntry | undefined
  let parts: Array<{ readonly entries: ReadonlyArray<LogEntry>; readonly size: number }> = []
  let size = 0
  let failure: LogLostError | undefined
  const hasRoom = () => size < capacity

  return {
    vhost,
    epoch,
    position: () => position,
    last: () => last,
    hasRoom,
    push: (entries) => {
      if (entries[0]!.offset !== position + 1) return false
      const added = entries.reduce((sum, { entry = "" }) => sum + entry.length, 0)
      last = entries.at(-1)!
      position = last.offset
      parts.push({ entries, size: added })
      size += added
      hasNews.openUnsafe()
      return true
    },
    fail: (detail) => {
      failure ??= new LogLostError({ detail })
      hasNews.openUnsafe()
    },
    hasFailed: () => failure !== undefined,
    take: Effect.andThen(
      hasNews.await,
      Effect.suspend(() => {
        const part = parts.shift()
        if (part === undefined) return Effect.fail(failure!)
        const hadRoom = hasRoom()
        size -= part.size
        if (parts.length === 0 && failure === undefined) hasNews.closeUnsafe()
        if (!hadRoom && hasRoom()) onRoom()
        return Effect.succeed(part.entries)
      })
    )
  }
}
