/**
 * The log of a single broker: an intent is decided and its change is applied in one synchronous step. Which channels are open
 * is recorded in the journal, and so is their history.
 */

import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid } from "effect/Function"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import { byteLength } from "../../../protocol/Frame.ts"
import { ChannelNotFoundError } from "../../../protocol/KosmonautError.ts"
import * as Lifecycle from "../../../protocol/Lifecycle.ts"
import type { Event } from "../../../protocol/Trigger.ts"
import * as EventLoop from "../../../transport/EventLoop.ts"
import * as Journal from "../Journal.ts"
import type { Change, HistoryEntry, HistoryPart, Intent, Intents, Log, Rejections } from "../Log.ts"
import * as Changes from "./changes.ts"
import type { Channel } from "./channel.ts"
import { decide } from "./decisions.ts"
import * as Departure from "./departure.ts"
import * as Graces from "./graces.ts"
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import * as Positions from "./positions.ts"
import * as StoredHistory from "./storedHistory.ts"
import { channelOf, type VhostState } from "./vhostState.ts"

/** The log of one broker, whose effects are done when they are made. */
export interface LocalLog extends Log {
  readonly commit: <Tag extends keyof Intents>(intent: Intent<Tag>) => Exit.Exit<boolean, Rejections[Tag]>
  readonly identify: (...args: Parameters<Log["identify"]>) => Exit.Exit<void>
  readonly forgetUser: (...args: Parameters<Log["forgetUser"]>) => Exit.Exit<void>
}

/** Makes the log of a vhost in this state. */
export const make = (options: {
  readonly state: VhostState
  /** Gets the lifecycle events, by default they are ignored. */
  readonly emit?: ((event: Event) => void) | undefined
  /** Records which channels are open, default nowhere. */
  readonly journal?: Journal.Journal | undefined
  /** Reserves positions, default none. */
  readonly positions?: Positions.Positions | undefined
  /** Called when `nextDue` may be earlier. */
  readonly wake?: (() => void) | undefined
}): LocalLog => {
  const { emit = constVoid, journal = Journal.none, positions = Positions.unlimited, state, wake = constVoid } = options
  state.histories.onDue = wake
  // What was restored is due, too.
  if (History.nextDue(state.histories) !== undefined) wake()
  const log: LocalLog = {
    epoch: () => state.epoch,
    head: () => state.head,
    history: (channel, options) => historyOf(state, channel, options),
    commit: (intent) => {
      const decision = decide(state, intent)
      if (decision._tag === "Rejected") return Exit.fail(decision.error)
      if (decision._tag === "Unchanged") return unchanged
      publish(decision, emit)
      Changes.apply(state, decision, state.head + 1)
      record(decision, state, journal)
      if (decision._tag === "GraceBegun" || decision._tag === "RulesSet") wake()
      if (state.head >= positions.renewAt()) positions.renew()
      return changed
    },
    ...makeBrowsers(state, emit, (browser, mayReturn) => Departure.leave(state, log, browser, mayReturn)),
    nextDue: () => {
      const due = Math.min(Graces.nextDue(state.graces) ?? Infinity, History.nextDue(state.histories) ?? Infinity)
      return due === Infinity ? undefined : due
    },
    sweep: Effect.suspend(() => sweep(state, log)),
    barrier: Exit.void,
    isPersisted: (channel) =>
      state.histories.recorder !== undefined &&
      (channel === Inboxes.name ? state.inboxes.rule : channelOf(state, channel))?.history !== undefined,
    persisted: journal.persisted
  }
  return log
}

const makeBrowsers = (
  { browsers }: VhostState,
  emit: (event: Event) => void,
  leaveChannels: Log["leave"]
): Pick<LocalLog, "enter" | "identify" | "forgetUser" | "leave"> => ({
  enter: (browser) => {
    browsers.add(browser)
    emit(Lifecycle.browserConnected(browser.sid))
  },
  identify: (browser, uid, info) => {
    browsers.identify(browser, uid, info)
    return Exit.void
  },
  forgetUser: (browser) => {
    browsers.forgetUser(browser)
    return Exit.void
  },
  leave: (browser, mayReturn) => {
    const left = leaveChannels(browser, mayReturn)
    const removed = Effect.sync(() => {
      const removed = browsers.remove(browser)
      if (removed !== undefined) emit(Lifecycle.browserDisconnected(browser.sid, removed.uid))
    })
    // Twice: a backend may subscribe it while it leaves, and not once it is removed.
    return Effect.andThen(Effect.andThen(left, removed), left)
  }
})

// Workers learn of lifecycle events before browsers learn of the change.
const publish = (change: Change, emit: (event: Event) => void): void => {
  switch (change._tag) {
    case "ChannelClosed":
    case "Joined":
    case "Left":
    case "GraceEnded":
      return change.lifecycle.forEach(emit)
  }
}

// Broadcasts of a closed channel are deleted before it, since they record its floor.
const record = (change: Change, state: VhostState, journal: Journal.Journal): void => {
  switch (change._tag) {
    case "ChannelOpened": {
      const channel = channelOf(state, change.channel)
      if (channel === undefined) return
      // One that was opened on demand may be recorded already.
      const isNew = channel.history === undefined || !channel.rule.openOnDemand
      return (isNew ? journal.created : journal.updated)(StoredHistory.entryOfChannel(channel))
    }
    case "RulesSet":
      for (const { value: channel } of state.channels.values()) {
        if (channel !== undefined && !channel.isOnDemand) journal.updated(StoredHistory.entryOfChannel(channel))
      }
      return
    case "ChannelClosed":
      return journal.deleted("Channel", change.channel)
  }
}

/** After how many broadcasts that are too old to yield. */
const turn = 10_000

const sweep = Effect.fnUntraced(function*(state: VhostState, { commit }: LocalLog) {
  let share = EventLoop.shareFromNow()
  for (let entry = Graces.due(state.graces, state.now()); entry; entry = Graces.due(state.graces, state.now())) {
    const { channel, member, uid } = entry
    yield* Effect.ignore(commit({ _tag: "EndGrace", channel: channel.name, uid, sid: member?.value?.browser.sid }))
    if (!EventLoop.isShareOver(share)) continue
    yield* EventLoop.nextLast
    share = EventLoop.shareFromNow()
  }
  while (History.expire(state.histories, state.now(), turn) === turn) yield* Effect.yieldNow
})

/** The broadcasts of a channel after a position, see `Log.history`. */
export const historyOf = (
  state: VhostState,
  channel: string,
  options: Parameters<Log["history"]>[1]
): Exit.Exit<HistoryPart, ChannelNotFoundError> => {
  const found = channelOf(state, channel)
  if (found === undefined) return Exit.fail(new ChannelNotFoundError({ channel }))
  History.expire(state.histories)
  return Exit.succeed(partOf(found, options))
}

const partOf = (
  { history }: Channel,
  { after, limit, maxSize }: { readonly after: number; readonly limit: number; readonly maxSize: number }
): HistoryPart => {
  const entries: Array<HistoryEntry> = []
  if (history === undefined) return { entries, floor: 0, more: false }
  let size = 0
  let more = false
  History.visitAfter(history, after, ({ message: positioned, position }) => {
    const message = BrokerMessage.unpositioned(BrokerMessage.bodyOf(positioned))
    size += byteLength(message) + entrySize
    more = entries.length === limit || (size > maxSize && entries.length > 0)
    if (!more) entries.push({ position, message })
    return !more
  })
  return { entries, floor: history.floor, more }
}

/** What an entry has beside its message, as JSON. */
const entrySize = 50

const changed = Exit.succeed(true)
const unchanged = Exit.succeed(false)
