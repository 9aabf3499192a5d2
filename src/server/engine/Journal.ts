/**
 * What changes in a broker while it runs, for a `Store` to persist.
 *
 * Recording is synchronous and never fails. Everything recorded in one turn of the event loop is written together, so that
 * many changes cost one write. A change that a later one undoes before the write is not written at all: an event that is
 * handled at once never touches the store. Responses that must survive a crash wait for the write.
 *
 * While the store fails, the broker goes on: waiting callers get the failure, and the write is retried every second. The
 * number of pending changes is bounded by the number of entries in the broker and in the store. Changes that cannot be
 * written at the end are logged and counted in `Unpersisted`.
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
import { messageOf } from "../../protocol/ErrorText.ts"
import { InternalError } from "../../protocol/KosmonautError.ts"
import {
  type Change,
  type Entry,
  type Key,
  keyOf,
  type Kind,
  nameOf,
  type Store,
  type StoreError
} from "../store/Store.ts"
import * as Timeline from "./internal/timeline.ts"
import { supervised } from "./Supervisor.ts"

/**
 * What is recorded of one vhost. `created`, `updated` and `deleted` record a change; `persisted` and `whenPersistedUnsafe` wait
 * until what was recorded is stored.
 *
 * @since 0.1.0
 */
export interface Journal {
  /** A place for a new event, after all that were given and stored. It is absent where nothing is recorded. */
  readonly nextPlace?: () => number
  /** Records a new entry. Its key was not used before. */
  readonly created: (entry: Recorded) => void
  /** Records that an entry has changed. */
  readonly updated: (entry: Recorded) => void
  /** Records that events were delivered once, up to this place. */
  readonly delivered: (place: number) => void
  /** Records that an entry was deleted. After its vhost was deleted, nothing of that vhost is recorded any more. */
  readonly deleted: (kind: Kind, key: Key) => void
  /**
   * Calls back once, when everything recorded so far is persisted or could not be written; at once if there is nothing
   * to write. Returns a function that cancels the callback.
   */
  readonly whenPersistedUnsafe: (then: (persisted: boolean) => void) => () => void
  /** Waits until everything recorded so far is persisted. Fails if it could not be written; the write is then retried. */
  readonly persisted: Effect.Effect<void, InternalError>
}

/**
 * How many changes brokers could not persist when they ended. The command line then exits with a failure.
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
export type Recorded = Entry extends infer One ? One extends Entry ? Omit<One, "vhost"> : never : never

/**
 * The journal of a broker without a store.
 *
 * @since 0.1.0
 */
export const none: Journal = {
  created: constVoid,
  updated: constVoid,
  delivered: constVoid,
  deleted: constVoid,
  whenPersistedUnsafe: (then) => {
    then(true)
    return constVoid
  },
  persisted: Effect.void
}

/** A change that is not written yet. */
interface Pending {
  readonly change: Change
  /** Whether the store does not have it yet, so that deleting it leaves nothing to write. */
  readonly isNew: boolean
}

/** For how many milliseconds the store must work before the log says that it recovered. */
const calm = 10_000

/**
 * Starts writing to a store, and returns the journal of each vhost. Events that are recorded come after `lastPlace`, the last one in the
 * store. When the scope ends, all recorded changes are written first.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Store["Service"],
  lastPlace = 0
): Effect.fn.Return<(vhost: string) => Journal, never, Scope.Scope> {
  const unpersisted = yield* Unpersisted
  const outbox = makeOutbox()
  const write = Effect.suspend(() => {
    const { changes, end } = outbox.begin()
    return (changes.length === 0 ? Effect.void : Effect.suspend(() => store.write(changes))).pipe(
      Effect.onExit((exit) =>
        Effect.forEach(
          end(Exit.isSuccess(exit)),
          (defect) => Effect.logError("A callback that waited for the storage has failed", defect),
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
  let place = lastPlace
  const nextPlace = () => ++place
  return (vhost) => journalOf(vhost, outbox, nextPlace)
})

/** Changes that are recorded and not persisted yet, and the callbacks that wait for them. */
interface Outbox {
  readonly size: () => number
  /** Whether a change with this name is recorded. */
  readonly has: (name: Key) => boolean
  readonly record: (change: Change, isNew: boolean) => void
  readonly whenPersisted: Journal["whenPersistedUnsafe"]
  /** Waits until there is a change to write. */
  readonly changed: Effect.Effect<void>
  /** Takes all changes out to be written. Call `end` with the outcome; it returns what callbacks have thrown. */
  readonly begin: () => {
    readonly changes: ReadonlyArray<Change>
    readonly end: (persisted: boolean) => ReadonlyArray<unknown>
  }
}

type Waiting = Set<(persisted: boolean) => void>

const makeOutbox = (): Outbox => {
  const hasChanges = Latch.makeUnsafe(false)
  let pending = new Map<Key, Pending>()
  let waiting: Waiting = new Set()
  // The callbacks of the write that is under way.
  let waitingForWrite: Waiting | undefined

  const record = (change: Change, isNew: boolean) => {
    mergeChange(pending, change, isNew)
    hasChanges.openUnsafe()
  }
  return {
    size: () => pending.size,
    has: (name) => pending.has(name),
    record,
    changed: hasChanges.await,
    whenPersisted: (then) => {
      const joined = pending.size > 0 ? waiting : waitingForWrite
      if (joined === undefined) {
        then(true)
        return constVoid
      }
      // A closure of its own, since the same function may wait twice.
      const own = (persisted: boolean) => then(persisted)
      joined.add(own)
      return () => void joined.delete(own)
    },
    begin: () => {
      const begun = { pending, waiting }
      pending = new Map()
      waiting = new Set()
      waitingForWrite = begun.waiting
      hasChanges.closeUnsafe()
      const end = (persisted: boolean) => {
        waitingForWrite = undefined
        if (!persisted) {
          // Changes recorded since then are newer and win.
          const newer = pending
          pending = begun.pending
          for (const { change, isNew } of newer.values()) record(change, isNew)
          hasChanges.openUnsafe()
        }
        // If one throws, the others are still called.
        return [...begun.waiting].map((then) => Result.try(() => then(persisted)))
          .flatMap((called) => Result.isFailure(called) ? [called.failure] : [])
      }
      return { changes: Array.from(begun.pending.values(), ({ change }) => change), end }
    }
  }
}

const mergeChange = (pending: Map<Key, Pending>, change: Change, isNew: boolean): void => {
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
  if (earlier?.isNew === true) return
  // An entry created later with the same key must come after the deletion, so it has a key of its own here. Places are never given again.
  pending.set(typeof name === "number" ? name : `deleted ${name}`, { change, isNew: false })
}

const deleteAll = (pending: Map<Key, Pending>, vhost: string): void => {
  for (const [name, { change }] of pending) {
    if ((change._tag === "Put" ? change.entry.vhost : change.vhost) === vhost) pending.delete(name)
  }
}

const writer = ({ changed }: Outbox, write: Effect.Effect<Exit.Exit<void, StoreError>>) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    let failedAt: number | undefined
    for (;;) {
      yield* changed
      yield* Effect.yieldNow
      const exit = yield* write
      const now = Timeline.nowOf(clock)
      if (Exit.isFailure(exit)) {
        if (failedAt === undefined) yield* Effect.logError(`${reasonOf(exit.cause)}. Retrying every second`)
        failedAt = now
        yield* Effect.sleep("1 second")
        // With a full disk, a small change may find room between two large ones.
      } else if (failedAt !== undefined && now - failedAt >= calm) {
        yield* Effect.logInfo("The storage can be written to again")
        failedAt = undefined
      }
    }
  })

const journalOf = (vhost: string, { has, record, whenPersisted }: Outbox, nextPlace: () => number): Journal => {
  const queueName = nameOf("Queue", vhost, vhost)
  let queue = { _tag: "Queue" as const, vhost, delivered: 0 }
  // Browsers and workers of a removed vhost may still be leaving; their changes are not recorded.
  let isDeleted = false
  const recordOwn = (change: Change, isNew = false) => {
    if (!isDeleted) record(change, isNew)
  }
  // Without the constructors of `Change`, which take ten times as long as all else here.
  const put = (entry: Recorded): Change => ({ _tag: "Put", entry: { ...entry, vhost } as Entry })
  return {
    nextPlace,
    created: (entry) => recordOwn(put(entry), true),
    updated: (entry) => recordOwn(put(entry)),
    delivered: (place) => {
      // Every event changes it, so it is one object until it is written.
      if (has(queueName)) queue.delivered = place
      else recordOwn({ _tag: "Put", entry: queue = { _tag: "Queue", vhost, delivered: place } })
    },
    deleted: (kind, key) => {
      recordOwn({ _tag: "Remove", kind, vhost, key })
      isDeleted ||= kind === "Vhost"
    },
    whenPersistedUnsafe: whenPersisted,
    persisted: Effect.callback((resume) => {
      const cancel = whenPersisted((persisted) =>
        resume(persisted ? Effect.void : Effect.fail(new InternalError({ detail: notPersisted })))
      )
      return Effect.sync(cancel)
    })
  }
}

const reasonOf = (cause: Cause.Cause<StoreError>): string => messageOf(Cause.squash(cause))

/**
 * The detail of a failure to persist.
 *
 * @since 0.1.0
 */
export const notPersisted = "the broker cannot write to its storage"
