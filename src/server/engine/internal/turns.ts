/**
 * What a node appends to the shared log: the operations of one turn of the event loop are one entry.
 *
 * One entry is appended at a time, and the operations that come meanwhile are the next one. An operation ends with what this
 * node has decided when it applied the entry. If the entry could not be appended its operations fail, and the error says whether they may
 * be carried out nevertheless. Those that are ensured are appended again instead, since without them the other nodes would have
 * browsers that are not there: as the same entry, with the same number, so that it counts once. If the lease of this node is lost
 * nothing is appended any more, and all ends: the others let its browsers leave.
 *
 * Those that wait are limited; an operation beyond that fails at once. One that was interrupted before its entry is appended never is.
 */

import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Latch from "effect/Latch"
import { byteLength } from "../../../protocol/Frame.ts"
import { InternalError, type StatusError } from "../../../protocol/KosmonautError.ts"
import { TransientMap } from "../../../protocol/TransientMap.ts"
import * as Pending from "../Pending.ts"
import { maxEntrySize, type SharedLog, SharedLogError } from "../SharedLog.ts"
import * as Operations from "./operations.ts"
import { entryOf, type Outcome } from "./replica.ts"
import * as Timeline from "./timeline.ts"

/** How many operations wait at most to be appended, and how many characters they have. Those that are ensured always may. */
const maxWaiting = { count: 65_536, size: 16_777_216 }

/** How many milliseconds an operation waits at most to be applied once it is appended. Those that are ensured wait longer. */
const applyTimeout = 10_000

/** How many milliseconds pass before what is ensured is appended again. */
const pause = 200

/** The operations of a node. */
export interface Turns {
  /** Appends an operation, from when it is called. It is pending, or an `Exit`. */
  readonly commit: (operation: Operations.Operation) => Effect.Effect<boolean, StatusError>
  /** Appends an operation, from when it is called, and ends when it is applied. `isFirst`: before all that wait, alone in its entry. */
  readonly ensure: (operation: Operations.Operation, isFirst?: boolean) => Effect.Effect<void>
  /** The same, and nobody waits for it. */
  readonly ensureUnsafe: (operation: Operations.Operation) => void
  /** This node has applied an operation: that with this index in its entry with this number. */
  readonly settle: (number: number, index: number, outcome: Outcome) => void
  /** What is appended and not applied will not be applied here one by one. Ends it. */
  readonly abandon: () => void
  /** Nothing is appended any more. Ends all. */
  readonly end: () => void
  /** Appends, one entry after the other. */
  readonly run: Effect.Effect<never>
  /** Ends what waits too long to be applied. */
  readonly watch: Effect.Effect<never>
}

/** An operation that has no outcome yet. */
interface Commit {
  readonly text: string
  readonly isEnsured: boolean
  readonly isFirst: boolean
  isWithdrawn: boolean
  outcome: Outcome | undefined
  resume: (outcome: Outcome) => void
}

/** An entry that is not applied yet. */
interface Turn {
  readonly commits: ReadonlyArray<Commit>
  readonly begun: number
}

interface State {
  waiting: Array<Commit>
  size: number
  readonly unapplied: TransientMap<number, Turn>
  hasEnded: boolean
  readonly isWaiting: Latch.Latch
  readonly isUnapplied: Latch.Latch
}

/** Makes it, nothing waits. */
export const make = (shared: Pick<SharedLog, "append">, clock: Clock.Clock): Turns => {
  const state: State = {
    waiting: [],
    size: 0,
    unapplied: new TransientMap(),
    hasEnded: false,
    isWaiting: Latch.makeUnsafe(false),
    isUnapplied: Latch.makeUnsafe(false)
  }
  const now = () => Timeline.nowOf(clock)
  return {
    commit: (operation) =>
      state.hasEnded
        ? ended
        : state.waiting.length >= maxWaiting.count || state.size >= maxWaiting.size
        ? tooMuch
        : outcomeOf(add(state, operation, false)),
    ensure: (operation, isFirst = false) =>
      state.hasEnded ? Exit.void : Effect.ignore(outcomeOf(add(state, operation, true, isFirst))),
    ensureUnsafe: (operation) => {
      if (!state.hasEnded) add(state, operation, true)
    },
    settle: (number, index, outcome) => {
      const turn = state.unapplied.get(number)
      const commit = turn?.commits[index]
      if (turn === undefined || commit === undefined) return
      if (index === turn.commits.length - 1) state.unapplied.delete(number)
      settle(commit, outcome)
    },
    abandon: () => abandon(state, maybe("this node has begun anew")),
    end: () => end(state),
    run: run(state, shared, now),
    watch: watch(state, now)
  }
}

const add = (state: State, operation: Operations.Operation, isEnsured: boolean, isFirst = false): Commit => {
  const text = Operations.write(operation)
  const commit: Commit = { text, isEnsured, isFirst, isWithdrawn: false, outcome: undefined, resume: constVoid }
  if (isFirst) state.waiting.unshift(commit)
  else state.waiting.push(commit)
  state.size += text.length
  if (state.waiting.length === 1) state.isWaiting.openUnsafe()
  return commit
}

const outcomeOf = (commit: Commit): Pending.Pending<boolean, StatusError> =>
  Pending.make<boolean, StatusError>((resume) => {
    if (commit.outcome !== undefined) resume(commit.outcome)
    else commit.resume = resume
  }, () => {
    commit.isWithdrawn = !commit.isEnsured
  })

const settle = (commit: Commit, outcome: Outcome): void => {
  if (commit.outcome !== undefined) return
  commit.outcome = outcome
  commit.resume(outcome)
}

const run = (state: State, { append }: Pick<SharedLog, "append">, now: () => number) =>
  Effect.gen(function*() {
    for (let number = 1;; number++) {
      yield* state.isWaiting.await
      // The rest of this turn of the event loop goes with it.
      yield* Effect.yieldNow
      const commits = take(state)
      if (commits.length === 0) continue
      state.unapplied.set(number, { commits, begun: now() })
      state.isUnapplied.openUnsafe()
      yield* appendTurn(state, append, number, commits)
    }
  })

// Until it has a place, or nothing in it needs one. What only was wished for is not done later.
const appendTurn = Effect.fnUntraced(function*(
  state: State,
  append: SharedLog["append"],
  number: number,
  commits: ReadonlyArray<Commit>
) {
  let texts = commits.map(({ text }) => text)
  for (let isRepeated = false;; isRepeated = true) {
    const exit = yield* Effect.exit(append(entryOf(number, texts)))
    if (Exit.isSuccess(exit)) return
    const error = errorOf(exit.cause)
    fail(commits, error.wasAppended === "no" ? never(error.detail) : maybe(error.detail))
    if (isRepeated) failWaiting(state, never(error.detail))
    if (error.isFenced) end(state)
    if (state.hasEnded || !commits.some(({ isEnsured }) => isEnsured)) return void state.unapplied.delete(number)
    texts = commits.map(({ isEnsured, text }) => isEnsured ? text : nothing)
    yield* Effect.sleep(pause)
  }
})

const nothing = Operations.write({ _tag: "Tick" })

// As much as one entry has, and at least one.
const take = (state: State): ReadonlyArray<Commit> => {
  const { waiting } = state
  const commits: Array<Commit> = []
  // A code unit has at most three bytes: mostly nothing must be counted.
  const isSmall = 3 * state.size <= maxEntrySize - overhead
  let size = 0
  let count = 0
  for (const commit of waiting) {
    const more = commit.isWithdrawn || isSmall ? 0 : byteLength(commit.text)
    if (commits.length > 0 && (commits[0]!.isFirst || size + more > maxEntrySize - overhead)) break
    size += more
    count++
    state.size -= commit.text.length
    if (!commit.isWithdrawn) commits.push(commit)
  }
  waiting.splice(0, count)
  if (waiting.length === 0) state.isWaiting.closeUnsafe()
  return commits
}

/** What an entry has beside its operations, at most. */
const overhead = 32

const fail = (commits: ReadonlyArray<Commit>, outcome: Outcome): void => {
  for (const commit of commits) if (!commit.isEnsured) settle(commit, outcome)
}

// They cannot wait for as long as the log cannot be reached.
const failWaiting = (state: State, outcome: Outcome): void => {
  fail(state.waiting, outcome)
  state.waiting = state.waiting.filter(({ isEnsured }) => isEnsured)
  state.size = state.waiting.reduce((size, { text }) => size + text.length, 0)
  if (state.waiting.length === 0) state.isWaiting.closeUnsafe()
}

const errorOf = ({ reasons }: Cause.Cause<SharedLogError>): SharedLogError => {
  const failure = reasons.find((reason) => reason._tag === "Fail")
  return failure?.error ??
    new SharedLogError({ detail: "an unexpected failure", wasAppended: "maybe", isFenced: false })
}

const end = (state: State): void => {
  state.hasEnded = true
  abandon(state, maybe("this node ends"))
  for (const commit of state.waiting.splice(0)) settle(commit, ended)
}

const abandon = ({ unapplied }: State, outcome: Outcome): void => {
  for (const { commits } of unapplied.values()) {
    for (const commit of commits) settle(commit, commit.isEnsured ? Exit.succeed(false) : outcome)
  }
  unapplied.clear()
}

const watch = ({ isUnapplied, unapplied }: State, now: () => number) =>
  Effect.gen(function*() {
    for (;;) {
      yield* isUnapplied.await
      yield* Effect.sleep(applyTimeout / 4)
      for (const { begun, commits } of unapplied.values()) {
        if (now() - begun < applyTimeout) break
        for (const commit of commits) if (!commit.isEnsured) settle(commit, notApplied)
      }
      if (unapplied.size === 0) isUnapplied.closeUnsafe()
    }
  })

const failed = (detail: string) => Exit.fail(new InternalError({ detail }))

const never = (detail: string) => failed(`the log of the nodes cannot be reached, nothing was done: ${detail}`)

const maybe = (detail: string) => failed(`the log of the nodes cannot be reached, this may have been done: ${detail}`)

const notApplied = maybe(`not applied within ${applyTimeout / 1000} seconds`)

const ended = failed("this node ends, nothing was done")

const tooMuch = failed(
  `more than ${maxWaiting.count} changes or ${maxWaiting.size} characters wait for the log of the nodes, the limit`
)
