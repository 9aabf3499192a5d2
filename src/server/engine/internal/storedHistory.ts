/**
 * The histories of a vhost in the store: the broadcasts that are retained, and for each channel the position of its opening and
 * that of its last dropped broadcast, which outlive the broadcasts.
 *
 * A broadcast is recorded in the step that retains it, and deleted in the one that drops it. So what is stored is always what
 * the broker retained at the end of one of its turns.
 */

import type * as Clock from "effect/Clock"
import * as BrokerMessage from "../../../protocol/BrokerMessage.ts"
import type { Entry } from "../../store/Store.ts"
import type * as Journal from "../Journal.ts"
import type { Channel } from "./channel.ts"
import * as History from "./history.ts"
import * as Inboxes from "./inboxes.ts"
import { channelOf, closeIfUnused, type VhostState } from "./vhostState.ts"

/** What is stored of a channel. */
export type StoredChannel = Omit<Extract<Entry, { _tag: "Channel" }>, "vhost" | "_tag">

/** What is stored of a broadcast. */
export type StoredBroadcast = Omit<Extract<Entry, { _tag: "Broadcast" }>, "vhost" | "_tag">

/** What is stored of the histories of a vhost; the broadcasts are in the order of their positions. */
export interface Stored {
  readonly channels: ReadonlyArray<StoredChannel>
  readonly broadcasts: ReadonlyArray<StoredBroadcast>
}

/** Records in a journal what is retained and dropped. */
export const recorder = (journal: Journal.Journal, clock: Clock.Clock): History.Recorder => ({
  retained: (history, { exceptSid, message: positioned, position }) => {
    const { channel: { isOnDemand, name: channel }, retained } = history
    // Before that there is nothing to restore of it.
    if (isOnDemand && retained.count === 1) journal.updated(entryOf(history))
    const at = clock.currentTimeMillisUnsafe()
    const message = BrokerMessage.unpositioned(BrokerMessage.bodyOf(positioned))
    journal.created(
      exceptSid === undefined
        ? { _tag: "Broadcast", position, channel, message, at }
        : { _tag: "Broadcast", position, channel, message, exceptSid, at }
    )
  },
  dropped: (history) => {
    journal.deleted("Broadcast", history.floor)
    journal.updated(entryOf(history))
  },
  closed: ({ channel: { name } }) => journal.deleted("Channel", name)
})

/** The entry of a channel that has a history. */
const entryOf = (
  { channel: { isOnDemand, name }, floor, opened }: Pick<History.History, "channel" | "floor" | "opened">
): Extract<Journal.Recorded, { _tag: "Channel" }> => ({
  _tag: "Channel",
  name,
  opened,
  floor,
  ...isOnDemand && { onDemand: 1 }
})

/** The entry of a channel that a backend has opened. */
export const entryOfChannel = ({ history, name }: Channel): Extract<Journal.Recorded, { _tag: "Channel" }> =>
  history === undefined ? { _tag: "Channel", name } : entryOf(history)

/**
 * Restores the histories of a vhost whose channels are open. Broadcasts of channels that have no history any more are deleted.
 * The wall clock may have been set since: none is retained for longer than a new one.
 */
export const restore = (
  state: VhostState,
  { broadcasts, channels }: Stored,
  { clock, journal }: { readonly clock: Clock.Clock; readonly journal: Journal.Journal }
): void => {
  const { histories } = state
  for (const { floor, name, onDemand, opened } of channels) {
    if (Inboxes.isStored(name) && historyOf(state, name) !== undefined) continue
    const channel = channelOf(state, name)
    const history = channel?.history
    // It was opened on demand, and would not be any more, or not be stored.
    if (channel === undefined || (onDemand !== undefined && history === undefined)) {
      journal.deleted("Channel", name)
      continue
    }
    // A channel had a history before, or has one from now on.
    if (history === undefined && opened !== undefined) journal.updated({ _tag: "Channel", name })
    if (history !== undefined && (opened === undefined || floor === undefined)) journal.updated(entryOf(history))
  }
  const wall = clock.currentTimeMillisUnsafe()
  const now = histories.now()
  let at = -Infinity
  for (const { channel, exceptSid, position, ...broadcast } of broadcasts) {
    const history = historyOf(state, channel)
    if (history === undefined || position <= history.floor) journal.deleted("Broadcast", position)
    else {
      const age = Math.max(0, wall - broadcast.at)
      at = Math.max(at, now - age)
      const write = Inboxes.isStored(channel) ? BrokerMessage.toUser : BrokerMessage.positioned
      const message = write(broadcast.message.slice(0, -1), position)
      History.restore(histories, history, { position, message, exceptSid }, at)
    }
  }
  History.expire(histories)
  for (const { name } of channels) {
    const channel = channelOf(state, name)
    if (channel !== undefined) closeIfUnused(state, channel)
  }
}

const historyOf = (state: VhostState, name: string): History.History | undefined =>
  Inboxes.isStored(name) ? Inboxes.restored(state.inboxes, name) : channelOf(state, name)?.history
