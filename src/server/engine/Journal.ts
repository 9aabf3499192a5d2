/**
 * What changes in a broker while it runs, for a `Store` to persist.
 *
 * Recording takes no time and never fails. What was recorded in one turn of the event loop is written together, so that many
 * changes cost one write, and changes that belong together are persisted together. A change that another undoes before that
 * is not written at all: an event that is handled at once never touches the store. Whoever has to know that something is
 * persisted waits for it.
 *
 * While the store fails the broker goes on: those who wait are told, the changes stay, and are tried again every second.
 * Their number is bounded by what the broker itself has and what the store still holds. What cannot be written at the end
 * either is logged, and counted in `Unpersisted`.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { InternalError } from "../../protocol/KosmonautError.ts"
import { Change, type Entry, keyOf, type Kind, nameOf, type Store, type StoreError } from "../store/Store.ts"
import { supervised } from "./internal/supervised.ts"
import * as Timeline from "./internal/timeline.ts"

/**
 * What is recorded of one vhost. `note…` and `forget` are for what changes, `whenKeptUnsafe` and `kept` for those who wait.
 *
 * @since 0.1.0
 */
export interface Journal {
  /** An entry is created, which no earlier one has named. */
  readonly noteNew: (entry: Noted) => void
  /** An entry is updated. */
  readonly noteChanged: (entry: Noted) => void
  /** An entry is deleted. After the vhost itself nothing of it is recorded. */
  readonly forget: (kind: Kind, key: string) => void
  /**
   * Calls back once, when all that was recorded so far is persisted or has failed to be; at once if there is nothing to
   * persist. Returns a function that takes the callback back.
   */
  readonly whenKeptUnsafe: (then: (kept: boolean) => void) => () => void
  /** Waits until all that was recorded so far is persisted. A failure says that it is not, yet: it will be tried again. */
  readonly kept: Effect.Effect<void, InternalError>
}

/**
 * How many changes brokers could not persist when they ended. A command line that finds some ends with a failure.
 *
 * @since 0.1.0
 */
export const Unpersisted: Context.Reference<{ changes: number }> = Context.Reference(
  "kosmonaut/server/engine/Journal/Unpersisted",
  { defaultValue: () => ({ changes: 0 }) }
)

/**
 * An entry without its vhost.
 *
 * @since 0.1.0
 */
export type Noted = Entry extends infer One ? One extends Entry ? Omit<One, "vhost"> : never : never

/**
 * The journal of a broker without a store.
 *
 * @since 0.1.0
 */
export const none: Journal = {
  noteNew: constVoid,
  noteChanged: constVoid,
  forget: constVoid,
  whenKeptUnsafe: (then) => {
    then(true)
    return constVoid
  },
  kept: Effect.void
}

/** A change that is not written yet, by the name of its entry. */
interface Pending {
  readonly change: Change
  /** Whether the store has never heard of it, so that deleting it leaves nothing to write. */
  readonly isNew: boolean
}

/** How long a store works without a failure until the log says that it does, in milliseconds. */
const calm = 10_000

/**
 * Begins to write to a store, and gives the journal of each vhost. What is recorded when the scope ends is still written.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Store["Service"]
): Effect.fn.Return<(vhost: string) => Journal, never, Scope.Scope> {
  const unpersisted = yield* Unpersisted
  const outbox = makeOutbox()
  const write = Effect.suspend(() => {
    const { changes, end } = outbox.begin()
    return (changes.length === 0 ? Effect.void : Effect.suspend(() => store.write(changes))).pipe(
      Effect.onExit((exit) =>
        Effect.forEach(
          end(Exit.isSuccess(exit)),
          (defect) => Effect.logError("Who waited for the storage has failed", defect),
          { discard: true }
        )
      ),
      Effect.uninterruptible,
      Effect.exit
    )
  })
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(write, (exit) => {
      if (Exit.isSuccess(exit)) return Effect.void
      unpersisted.changes += outbox.size()
      return Effect.logError(`${outbox.size()} changes could not be stored. ${reasonOf(exit.cause)}`)
    })
  )
  yield* Effect.forkScoped(supervised("The journal", writer(outbox, write)))
  return (vhost) => journalOf(vhost, outbox)
})

/** What is recorded and not persisted yet, and who waits for it. */
interface Outbox {
  readonly size: () => number
  readonly note: (change: Change, isNew: boolean) => void
  readonly whenKept: Journal["whenKeptUnsafe"]
  /** Ends when something is recorded. */
  readonly noted: Effect.Effect<void>
  /** Takes all changes out, to be written; `end` says whether they are, and gives what callbacks have thrown. */
  readonly begin: () => {
    readonly changes: ReadonlyArray<Change>
    readonly end: (kept: boolean) => ReadonlyArray<unknown>
  }
}

type Waiting = Set<(kept: boolean) => void>

const makeOutbox = (): Outbox => {
  const isNoted = Latch.makeUnsafe(false)
  let pending = new Map<string, Pending>()
  let waiting: Waiting = new Set()
  // Who waits for what is being written now.
  let waitingForWrite: Waiting | undefined

  const note = (change: Change, isNew: boolean) => {
    record(pending, change, isNew)
    isNoted.openUnsafe()
  }
  return {
    size: () => pending.size,
    note,
    noted: isNoted.await,
    whenKept: (then) => {
      const joined = pending.size > 0 ? waiting : waitingForWrite
      if (joined === undefined) {
        then(true)
        return constVoid
      }
      // Its own, even if the same function waits twice.
      const own = (kept: boolean) => then(kept)
      joined.add(own)
      return () => void joined.delete(own)
    },
    begin: () => {
      const begun = { pending, waiting }
      pending = new Map()
      waiting = new Set()
      waitingForWrite = begun.waiting
      isNoted.closeUnsafe()
      const end = (kept: boolean) => {
        waitingForWrite = undefined
        if (!kept) {
          // What has been recorded since is newer.
          const newer = pending
          pending = begun.pending
          for (const { change, isNew } of newer.values()) note(change, isNew)
          isNoted.openUnsafe()
        }
        // One that fails keeps nobody from being called.
        return [...begun.waiting].map((then) => Result.try(() => then(kept)))
          .flatMap((called) => Result.isFailure(called) ? [called.failure] : [])
      }
      return { changes: Array.from(begun.pending.values(), ({ change }) => change), end }
    }
  }
}

const record = (pending: Map<string, Pending>, change: Change, isNew: boolean): void => {
  if (change._tag === "Put") {
    const name = nameOf(change.entry._tag, change.entry.vhost, keyOf(change.entry))
    const earlier = pending.get(name)
    pending.set(name, { change, isNew: earlier === undefined ? isNew : earlier.isNew })
    return
  }
  if (change.kind === "Vhost") deleteAll(pending, change.vhost)
  const name = nameOf(change.kind, change.vhost, change.key)
  const earlier = pending.get(name)
  pending.delete(name)
  // Beside what is created under the same name afterwards: that comes after it, in a place of its own.
  if (earlier?.isNew !== true) pending.set(`deleted ${name}`, { change, isNew: false })
}

const deleteAll = (pending: Map<string, Pending>, vhost: string): void => {
  for (const [name, { change }] of pending) {
    if ((change._tag === "Put" ? change.entry.vhost : change.vhost) === vhost) pending.delete(name)
  }
}

const writer = ({ noted }: Outbox, write: Effect.Effect<Exit.Exit<void, StoreError>>) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    let failedAt: number | undefined
    for (;;) {
      yield* noted
      yield* Effect.yieldNow
      const exit = yield* write
      const now = Timeline.nowOf(clock)
      if (Exit.isFailure(exit)) {
        if (failedAt === undefined) yield* Effect.logError(`${reasonOf(exit.cause)}. Trying again every second`)
        failedAt = now
        yield* Effect.sleep("1 second")
        // With a full disk, a small change may find room between two large ones.
      } else if (failedAt !== undefined && now - failedAt >= calm) {
        yield* Effect.logInfo("The storage can be written to again")
        failedAt = undefined
      }
    }
  })

const journalOf = (vhost: string, { note, whenKept }: Outbox): Journal => {
  // Of a vhost that is removed nothing is recorded, whoever is still on the way out.
  let isForgotten = false
  const noteOwn = (change: Change, isNew = false) => {
    if (!isForgotten) note(change, isNew)
  }
  return {
    noteNew: (noted) => noteOwn(Change.Put({ entry: { ...noted, vhost } as Entry }), true),
    noteChanged: (noted) => noteOwn(Change.Put({ entry: { ...noted, vhost } as Entry })),
    forget: (kind, key) => {
      noteOwn(Change.Remove({ kind, vhost, key }))
      isForgotten ||= kind === "Vhost"
    },
    whenKeptUnsafe: whenKept,
    kept: Effect.callback((resume) => {
      const takeBack = whenKept((kept) =>
        resume(kept ? Effect.void : Effect.fail(new InternalError({ detail: notKept })))
      )
      return Effect.sync(takeBack)
    })
  }
}

const reasonOf = (cause: Cause.Cause<StoreError>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

/**
 * The detail of a failure to persist.
 *
 * @since 0.1.0
 */
export const notKept = "the broker cannot write to its storage"
