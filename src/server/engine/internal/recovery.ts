/**
 * What a browser that subscribes to a channel with history has missed.
 *
 * A browser says after which position it continues, or how many of the last broadcasts it wants. It receives all of them in
 * order and then is subscribed, in one step. If they are too many for its outbound queue it receives a part and subscribes
 * again. If they are not all retained it is told so, and receives none. A browser that is subscribed and subscribes again
 * receives again what it has received since then.
 *
 * Many browsers come back at the same moment, after a restart of the broker for instance, and have missed the same. The last part is
 * remembered, so that they share its messages.
 */

import type { Recovery } from "../../../protocol/BrokerMessage.ts"
import type { Browser, SubscribeOptions } from "../../domain/Browser.ts"
import type { Channel } from "./channel.ts"
import * as History from "./history.ts"
import { positionOf, type VhostState } from "./vhostState.ts"

/** What a browser asks for. */
export type Asked = Pick<SubscribeOptions, "since" | "rewind">

/** What it receives: the fields of `:subscribed`, and the broadcasts that follow it, the same array for the same broadcasts. */
export interface Part {
  readonly recovery: Recovery
  readonly messages: ReadonlyArray<string>
}

/** What a browser of version 0 receives, and any browser on a channel without history. */
const nothing: Part = { recovery: undefined, messages: [] }

/** What a browser receives when it subscribes now. */
export const partOf = (state: VhostState, channel: Channel, browser: Browser, asked: Asked): Part => {
  const { history } = channel
  const { rewind, since } = asked
  if (browser.version === 0) return nothing
  if (history === undefined) return since === undefined ? nothing : { recovery: noHistory, messages: [] }
  if (since === undefined) {
    return rewind === undefined
      ? live(state, {})
      : read(state, history, History.positionBefore(history, rewind), [browser.sid])
  }
  const reason = since.epoch !== state.epoch || since.position > positionOf(state)
    ? "epoch"
    : since.position < history.opened
    ? "closed"
    : since.position < history.floor
    ? "dropped"
    : undefined
  return reason === undefined
    ? read(state, history, since.position, [browser.sid, since.sid], true)
    : live(state, { recovered: false, reason })
}

const live = (state: VhostState, outcome: Partial<NonNullable<Recovery>>): Part => ({
  recovery: { epoch: state.epoch, position: positionOf(state), ...outcome, missed: 0, more: false },
  messages: []
})

const read = (
  state: VhostState,
  history: History.History,
  after: number,
  except: ReadonlyArray<string | undefined>,
  recovered?: boolean
): Part => {
  const { epoch, histories: { total }, limits } = state
  let missed = total.lastMissed
  if (missed?.history !== history || missed.after !== after || missed.head !== History.headOf(history)) {
    missed = missedOf(history, after, except, limits.outboxSize / 4)
    // Otherwise others have missed more.
    if (missed.isForAll) total.lastMissed = missed
  }
  const { messages, more, position } = missed
  return {
    recovery: {
      epoch,
      position: more ? position : positionOf(state),
      recovered,
      missed: messages.length,
      more
    },
    messages
  }
}

// At least one broadcast, so that every part is a step forward.
const missedOf = (
  history: History.History,
  after: number,
  except: ReadonlyArray<string | undefined>,
  maxSize: number
): History.Missed => {
  const messages: Array<string> = []
  let size = 0
  let position = after
  let more = false
  let isForAll = true
  History.visitAfter(history, after, (entry) => {
    if (entry.exceptSid !== undefined) {
      isForAll = false
      if (except.includes(entry.exceptSid)) return true
    }
    size += entry.size
    more = size > maxSize && messages.length > 0
    if (more) return false
    messages.push(entry.message)
    position = entry.position
    return true
  })
  return { history, after, head: History.headOf(history), messages, position, more, isForAll }
}

/** The channel has no history any more. */
const noHistory: Recovery = { recovered: false, reason: "dropped", missed: 0, more: false }
