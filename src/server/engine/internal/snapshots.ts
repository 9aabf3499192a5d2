/**
 * When a snapshot is stored, which the leader does: after so many entries, so that a node that starts has few to apply and the shared
 * log may forget the rest. While it is collected, in turns of a few milliseconds, this node applies nothing.
 *
 * A snapshot of a large state is stored less often: the entries since the last one are as large as it at least, so that snapshots cost no
 * more than the log.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type { LogEntry, SharedLog } from "../SharedLog.ts"
import { leaderOf, type Replica } from "./replica.ts"
import * as Snapshot from "./snapshot.ts"
import * as Steps from "./steps.ts"

/** After how many entries, or how many characters of them, a snapshot is stored. */
const interval = { entries: 10_000, size: 8_388_608 }

/** How many characters a part has, if no record is larger. */
const partSize = 1_048_576

/** How many milliseconds pass before one that could not be stored is tried again. */
const pause = 10_000

/** Stores snapshots. */
export interface Snapshots {
  /** Entries are applied. Ends when others may be: if a snapshot is due, when it is collected. */
  readonly applied: (entries: ReadonlyArray<LogEntry>) => Effect.Effect<void>
  /** Stores what is collected. */
  readonly run: Effect.Effect<never>
}

/** A snapshot that is not stored yet. */
interface Collected {
  readonly epoch: string
  readonly offset: number
  readonly records: Iterable<string>
}

/** Makes it for a replica that began with `parts`. */
export const make = (
  replica: Replica,
  { storeSnapshot }: Pick<SharedLog, "storeSnapshot">,
  clock: Clock.Clock,
  parts: ReadonlyArray<string>
): Snapshots => {
  const isCollected = Latch.makeUnsafe(false)
  const since = { entries: 0, size: 0 }
  let last = sizeOf(parts)
  let hasFailed = false
  let collected: Collected | undefined
  const isDue = () =>
    collected === undefined && leaderOf(replica) === replica.self && (
      hasFailed || since.size >= last && (since.entries >= interval.entries || since.size >= interval.size)
    )
  const collect = Effect.gen(function*() {
    const { offset, state: { epoch } } = replica
    since.entries = since.size = 0
    collected = { epoch, offset, records: yield* Steps.run(Snapshot.collect(replica), clock) }
    isCollected.openUnsafe()
  })
  const store = Effect.fnUntraced(function*({ epoch, offset, records }: Collected) {
    const written = yield* Steps.run(partsOf(records), clock)
    last = sizeOf(written)
    yield* storeSnapshot(epoch, offset, written)
    hasFailed = false
  })
  const failed = (detail: string) =>
    Effect.andThen(Effect.logWarning(`A snapshot could not be stored: ${detail}`), Effect.sleep(pause))
  return {
    applied: (entries) => {
      since.entries += entries.length
      for (const { entry } of entries) since.size += entry?.length ?? 0
      return isDue() ? collect : Exit.void
    },
    run: Effect.forever(Effect.gen(function*() {
      yield* isCollected.await
      hasFailed = true
      yield* Effect.catch(store(collected!), ({ message }) => failed(message))
      isCollected.closeUnsafe()
      collected = undefined
    }))
  }
}

const partsOf = function*(records: Iterable<string>): Steps.Steps<ReadonlyArray<string>> {
  const parts: Array<string> = []
  let part = ""
  for (const record of records) {
    part += record
    if (part.length >= partSize) {
      parts.push(part)
      part = ""
    }
    yield
  }
  return part === "" ? parts : [...parts, part]
}

const sizeOf = (parts: ReadonlyArray<string>): number => parts.reduce((sum, { length }) => sum + length, 0)
