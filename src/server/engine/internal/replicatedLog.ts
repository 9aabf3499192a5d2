/**
 * The log of a vhost that several nodes share: intents are put into one order, and every node decides and applies all of them in
 * that order, so that all nodes have the same channels, subscriptions, members and histories.
 *
 * An intent ends when this node has applied it; the error says what was decided, or that the log cannot be reached. Browsers
 * receive what they are sent when their own node applies it. Many operations are applied in turns of a few milliseconds.
 *
 * A node whose position is lost begins anew with the last snapshot: its browsers are closed with 1012, come back, and are told
 * whether they have missed anything.
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { messageOf } from "../../../protocol/ErrorText.ts"
import { InternalError } from "../../../protocol/KosmonautError.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import type { Intent, Intents, Log, Rejections } from "../Log.ts"
import type { LifecycleEvents, LogEntry, LogStart, SharedLog } from "../SharedLog.ts"
import * as Emitter from "./emitter.ts"
import * as LocalLog from "./localLog.ts"
import * as LogDuties from "./logDuties.ts"
import * as Replica from "./replica.ts"
import * as Rules from "./rules.ts"
import * as RulesText from "./rulesText.ts"
import * as SnapshotReader from "./snapshotReader.ts"
import * as Snapshots from "./snapshots.ts"
import * as Steps from "./steps.ts"
import * as Turns from "./turns.ts"
import type { Limits, Options as StateOptions, VhostState } from "./vhostState.ts"

/** What a replicated log is made of. */
export interface Options extends Omit<StateOptions, "epoch" | "history" | "now" | "opened" | "recorder"> {
  readonly shared: SharedLog
  readonly lifecycle?: LifecycleEvents | undefined
  /** Gets lifecycle events if there is no `lifecycle`, on the node that leads; by default they are ignored. */
  readonly emit?: ((event: Event) => void) | undefined
  /** Called when `nextDue` may be earlier. */
  readonly wake?: (() => void) | undefined
}

/** How many operations are applied in a step. */
const step = 8

/** How many milliseconds `barrier` waits at most. */
const barrierTimeout = 10_000

/** How many milliseconds a browser's `leave` waits at most: the end of a broker waits for its browsers. They leave nevertheless. */
const leaveTimeout = 1000

/** The close code for browsers whose node begins anew: they come back. */
const restarted = 1012

/** What a replicated log consists of. */
interface Parts extends Pick<Options, "shared" | "clock"> {
  readonly wake: () => void
  readonly replica: Replica.Replica
  readonly turns: Turns.Turns
  readonly duties: LogDuties.Duties
  readonly emitter: Emitter.Emitter
  readonly snapshots: Snapshots.Snapshots
  readonly barriers: Set<Barrier>
  /** The state of the log without its content. */
  readonly initial: Omit<StateOptions, "epoch" | "history" | "now">
}

interface Barrier {
  readonly offset: number
  readonly reached: () => void
}

/** Makes the log of a vhost, until the scope ends. Ends when this node has applied all entries up to its own first one. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { clock, emit = constVoid, lifecycle, rules, shared, wake = constVoid } = options
  const start = yield* Effect.mapError(shared.start, ({ detail }) => unreachable(detail))
  const initial = { ...options, rules: Rules.original(false) }
  const replica = Replica.make(shared.self, new Map(), { ...initial, epoch: start.epoch })
  if (!(yield* Steps.run(SnapshotReader.restore(replica, start), clock))) {
    return yield* unreachable(unreadable(start))
  }
  const turns = Turns.make(shared, clock)
  const parts: Parts = {
    shared,
    clock,
    wake,
    replica,
    turns,
    duties: LogDuties.make(replica, turns, clock),
    emitter: Emitter.make(replica, { emit, lifecycle }),
    snapshots: Snapshots.make(replica, shared, clock, start.parts),
    barriers: new Set(),
    initial
  }
  yield* Effect.addFinalizer(() => Effect.sync(turns.end))
  for (const work of [turns.run, turns.watch, parts.emitter.run, parts.snapshots.run, follow(parts, options)]) {
    yield* Effect.forkScoped(Effect.catchCause(work, (cause) => giveUp(shared, Cause.squash(cause))))
  }
  yield* enter(parts, options, rules)
  return { state: replica.state, log: logOf(parts) }
})

// It would answer, and never hear again what others do.
const giveUp = ({ giveUp }: SharedLog, defect: unknown): Effect.Effect<void> => {
  const detail = `what the nodes share cannot be read or written: ${messageOf(defect)}`
  return Effect.andThen(Effect.logError(detail, defect), giveUp(detail))
}

// Its limits and rules are those of all nodes from now on.
const enter = ({ replica, turns }: Parts, limits: Limits, rules: Rules.Rules): Effect.Effect<void> =>
  Effect.andThen(
    turns.ensure({ _tag: "EnterNode", limits }, true),
    Effect.suspend(() =>
      RulesText.write(replica.state.rules) === RulesText.write(rules)
        ? Effect.void
        : Effect.andThen(
          Effect.logInfo("The rules of channels are those of this node now, on all nodes"),
          turns.ensure({ _tag: "SetRules", rules })
        )
    )
  )

const follow = (parts: Parts, limits: Limits): Effect.Effect<never, never, Scope.Scope> => {
  const { replica, shared } = parts
  return Effect.suspend(() =>
    Stream.runForEach(shared.follow(replica.state.epoch, replica.offset), (entries) => applyAll(parts, entries))
  ).pipe(
    Effect.catch(({ detail }) => Effect.logWarning(`This node begins anew: ${detail}`)),
    Effect.andThen(Effect.retry(shared.start, Schedule.spaced("1 second"))),
    Effect.orDie,
    Effect.flatMap((start) => restart(parts, limits, start)),
    Effect.forever
  )
}

const restart = Effect.fnUntraced(function*(parts: Parts, limits: Limits, start: LogStart) {
  const { clock, initial, replica, turns, wake } = parts
  const { channels, epoch, rules } = replica.state
  const opened = epoch === start.epoch ? [] : [...channels.values()].flatMap(({ value }) => value ?? [])
  for (const channel of channels.values()) for (const tap of channel.value?.taps ?? []) tap.onClose()
  dismissBrowsers(replica)
  Replica.reset(replica, { ...initial, epoch: start.epoch })
  if (!(yield* Steps.run(SnapshotReader.restore(replica, start), clock))) return yield* Effect.die(unreadable(start))
  // Those that came meanwhile.
  dismissBrowsers(replica)
  turns.abandon()
  wake()
  // If all nodes have lost it, they still know what backends have opened.
  const reopened = Effect.forEach(
    opened.filter(({ isOnDemand }) => !isOnDemand),
    ({ name: channel }) => turns.ensure({ _tag: "OpenChannel", channel }),
    { concurrency: "unbounded", discard: true }
  )
  const entered = enter(parts, limits, epoch === start.epoch ? replica.state.rules : rules)
  yield* Effect.forkScoped(Effect.andThen(entered, reopened))
})

// They are no longer those of the log: it ends them when this node enters. They come back.
const dismissBrowsers = ({ own }: Replica.Replica): void => {
  for (const browser of own.values()) browser.closeUnsafe(restarted)
  own.clear()
}

const unreadable = ({ offset }: LogStart): string =>
  `the snapshot at the entry ${offset} of the log is of another version of the broker`

const applyAll = Effect.fnUntraced(function*(parts: Parts, entries: ReadonlyArray<LogEntry>) {
  const { barriers, clock, duties, emitter, replica, snapshots, wake } = parts
  const reports: Array<string> = []
  const failed = yield* Steps.run(inSteps(parts, entries, reports), clock)
  for (const line of reports) yield* Effect.logInfo(line)
  if (failed !== undefined) {
    return yield* Effect.die(`The entry ${failed} of the log is of another version of the broker`)
  }
  duties.applied()
  emitter.wake()
  for (const barrier of barriers) {
    if (barrier.offset > replica.offset) continue
    barriers.delete(barrier)
    barrier.reached()
  }
  wake()
  yield* snapshots.applied(entries)
})

// Returns the offset of an entry that cannot be read. A node that starts may have other options than this one: it is reported.
const inSteps = function*(
  { replica, turns }: Parts,
  entries: ReadonlyArray<LogEntry>,
  reports: Array<string>
): Steps.Steps<number | undefined> {
  const { nodes, self, state } = replica
  let count = 0
  for (const entry of entries) {
    const { limits, rules } = state
    const operations = Replica.apply(replica, entry, turns.settle)
    let next = operations.next()
    for (; next.done !== true; next = operations.next()) if (next.value === true || ++count % step === 0) yield
    if (!next.value) return entry.offset
    if (entry.node === self || !nodes.has(self)) continue
    const changed = changesOf(state, { limits, rules })
    if (changed !== "") reports.push(`The ${changed} are those of the node ${entry.node} now`)
  }
  return undefined
}

const changesOf = ({ limits, rules }: VhostState, before: Pick<VhostState, "limits" | "rules">): string =>
  [
    ...rules !== before.rules && RulesText.write(rules) !== RulesText.write(before.rules) ? ["rules of channels"] : [],
    ...limits !== before.limits && !isSame(limits, before.limits) ? ["limits"] : []
  ].join(" and the ")

const isSame = (one: Limits, other: Limits): boolean =>
  Object.entries(one).every(([name, limit]) => other[name as keyof Limits] === limit)

const logOf = ({ barriers, duties, replica, shared, turns }: Parts): Log => {
  const { own, state } = replica
  const commit = <Tag extends keyof Intents>(intent: Intent<Tag>) =>
    turns.commit(intent as Intent) as Effect.Effect<boolean, Rejections[Tag]>
  return {
    epoch: () => state.epoch,
    head: () => state.head,
    commit,
    history: (channel, options) => Effect.suspend(() => LocalLog.historyOf(state, channel, options)),
    nextDue: duties.nextDue,
    sweep: duties.sweep,
    enter: (browser) => {
      own.set(browser.sid, browser)
      turns.ensureUnsafe({ _tag: "EnterBrowser", sid: browser.sid, version: browser.version })
    },
    identify: (browser, uid, info) => turns.ensure({ _tag: "Identify", browser, uid, info }),
    forgetUser: (browser) => turns.ensure({ _tag: "Identify", browser, uid: undefined, info: undefined }),
    leave: (browser, mayReturn) =>
      Effect.suspend(() =>
        Effect.timeoutOption(turns.ensure({ _tag: "LeaveBrowser", browser, mayReturn }), leaveTimeout)
      ),
    barrier: barrier(barriers, replica, shared),
    // In the shared log, with all else.
    isPersisted: () => false,
    persisted: Exit.void
  }
}

const barrier = (barriers: Set<Barrier>, replica: Replica.Replica, { tail }: SharedLog) =>
  Effect.flatMap(
    Effect.mapError(tail, ({ detail }) => unreachable(detail)),
    (offset) =>
      replica.offset >= offset ? Exit.void : Effect.timeoutOrElse(
        Effect.callback<void>((resume) => {
          const barrier = { offset, reached: () => resume(Effect.void) }
          barriers.add(barrier)
          return Effect.sync(() => barriers.delete(barrier))
        }),
        { duration: barrierTimeout, orElse: () => Effect.fail(unreachable("its entries do not arrive")) }
      )
  )

const unreachable = (detail: string) =>
  new InternalError({ detail: `the log of the nodes cannot be reached: ${detail}` })
