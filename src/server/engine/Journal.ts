/**
 * What a broker notes while it runs, for a `Store` to keep.
 *
 * Noting takes no time and never fails. What was noted in one turn of the event loop is written together, so that many
 * changes cost one write, and what belongs together is kept together. A change that another undoes before that is not
 * written at all: an event that is handled at once never touches the store. Whoever has to know that something is kept
 * waits for it.
 *
 * While the store fails the broker goes on: those who wait are told, the changes stay noted, and are tried again every
 * second. Their number is bounded by what the broker itself has and what the store still holds.
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
import type * as Scope from "effect/Scope"
import { InternalError } from "../../protocol/KosmonautError.ts"
import { Change, type Entry, keyOf, type Kind, nameOf, type Store, type StoreError } from "../store/Store.ts"

/**
 * What is noted of one vhost. `note…` and `forget` are for what changes, `whenKeptUnsafe` and `kept` for those who wait.
 *
 * @since 0.1.0
 */
export interface Journal {
  /** There is something new, which no earlier note has named. */
  readonly noteNew: (entry: Noted) => void
  /** Something noted earlier is different now. */
  readonly noteChanged: (entry: Noted) => void
  /** Something noted earlier is no more. After the vhost itself nothing of it is noted. */
  readonly forget: (kind: Kind, key: string) => void
  /** Calls back once, when all that was noted so far is kept or has failed to be; at once where nothing is to be kept. */
  readonly whenKeptUnsafe: (then: (kept: boolean) => void) => void
  /** Waits until all that was noted so far is kept. A failure says that it is not, yet: it will be tried again. */
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
 * The journal of a broker that keeps nothing.
 *
 * @since 0.1.0
 */
export const none: Journal = {
  noteNew: constVoid,
  noteChanged: constVoid,
  forget: constVoid,
  whenKeptUnsafe: (then) => then(true),
  kept: Effect.void
}

/** A change that is not written yet, by the name of its entry. */
interface Pending {
  readonly change: Change
  /** Whether the store has never heard of it, so that forgetting it leaves nothing to write. */
  readonly isNew: boolean
}

/** How long a store works without a failure until it is said that it does, in milliseconds. */
const calm = 10_000

/**
 * Begins to write to a store, and gives the journal of each vhost. What is noted when the scope ends is still written.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  store: Store["Service"]
): Effect.fn.Return<(vhost: string) => Journal, never, Scope.Scope> {
  const unpersisted = yield* Unpersisted
  const isNoted = Latch.makeUnsafe(false)
  let pending = new Map<string, Pending>()
  let waiting: Array<(kept: boolean) => void> = []
  // Who waits for what is being written now.
  let waitingForWrite: typeof waiting | undefined

  const note = (change: Change, isNew: boolean) => {
    if (change._tag === "Remove" && change.kind === "Vhost") forgetAll(change.vhost)
    const name = change._tag === "Put"
      ? nameOf(change.entry._tag, change.entry.vhost, keyOf(change.entry))
      // One of the same path may be made before this is written, and follows it then.
      : nameOf(change.kind, change.vhost, change.kind === "Vhost" ? "removed" : change.key)
    const earlier = pending.get(name)
    if (change._tag === "Remove" && earlier?.isNew === true) pending.delete(name)
    else pending.set(name, { change, isNew: earlier === undefined ? isNew : earlier.isNew })
    isNoted.openUnsafe()
  }
  const forgetAll = (vhost: string) => {
    for (const [name, { change }] of pending) {
      if ((change._tag === "Put" ? change.entry.vhost : change.vhost) === vhost) pending.delete(name)
    }
  }

  const begin = () => {
    const begun = { pending, waiting }
    pending = new Map()
    waiting = []
    waitingForWrite = begun.waiting
    isNoted.closeUnsafe()
    return begun
  }
  const end = (begun: ReturnType<typeof begin>, kept: boolean) => {
    waitingForWrite = undefined
    if (!kept) {
      // What has been noted since is newer.
      const newer = pending
      pending = begun.pending
      for (const { change, isNew } of newer.values()) note(change, isNew)
      isNoted.openUnsafe()
    }
    for (const then of begun.waiting) then(kept)
  }
  const write = Effect.suspend(() => {
    const begun = begin()
    const changes = Array.from(begun.pending.values(), ({ change }) => change)
    return (changes.length === 0 ? Effect.void : store.write(changes)).pipe(
      Effect.onExit((exit) => Effect.sync(() => end(begun, Exit.isSuccess(exit)))),
      Effect.uninterruptible,
      Effect.exit
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.flatMap(write, (exit) => {
      if (Exit.isSuccess(exit)) return Effect.void
      unpersisted.changes += pending.size
      return Effect.logError(`${pending.size} changes could not be stored. ${reasonOf(exit.cause)}`)
    })
  )
  yield* Effect.gen(function*() {
    let failedAt: number | undefined
    for (;;) {
      yield* isNoted.await
      yield* Effect.yieldNow
      const exit = yield* write
      const now = yield* Clock.currentTimeMillis
      if (Exit.isFailure(exit)) {
        if (failedAt === undefined) yield* Effect.logError(`${reasonOf(exit.cause)}. Trying again every second`)
        failedAt = now
        yield* Effect.sleep("1 second")
        // Where the disk is full, a small change may find room between two large ones.
      } else if (failedAt !== undefined && now - failedAt >= calm) {
        yield* Effect.logInfo("The storage can be written to again")
        failedAt = undefined
      }
    }
  }).pipe(Effect.forkScoped)

  const whenKeptUnsafe: Journal["whenKeptUnsafe"] = (then) => {
    const joined = pending.size > 0 ? waiting : waitingForWrite
    if (joined === undefined) then(true)
    else joined.push(then)
  }
  const kept: Journal["kept"] = Effect.callback((resume) =>
    whenKeptUnsafe((kept) => resume(kept ? Effect.void : Effect.fail(new InternalError({ detail: notKept }))))
  )
  return (vhost) => {
    // Of a vhost that is no more nothing is noted, whoever is still on the way out.
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
      whenKeptUnsafe,
      kept
    }
  }
})

const reasonOf = (cause: Cause.Cause<StoreError>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

/**
 * What those are told whose change is not kept.
 *
 * @since 0.1.0
 */
export const notKept = "the broker cannot write to its storage"
