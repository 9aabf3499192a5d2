/**
 * What a browser that subscribes to a channel with history has missed.
 *
 * A browser says after which position it continues, or how many of the last broadcasts it wants. It receives all of them in
 * order and then is subscribed, in one step. If they are too many for its outbound queue it receives a part and subscribes
 * again. If they are not all retained it is told so, and receives none. A browser that is subscribed and subscribes again
 * receives again what it has received since then.
 */

import type { Recovery } from "../../../protocol/BrokerMessage.ts"
import type { Browser, SubscribeOptions } from "../../domain/Browser.ts"
import type { Channel } from "./channel.ts"
import * as History from "./history.ts"
import { positionOf, type VhostState } from "./vhostState.ts"

/** What a browser asks for. */
export type Asked = Pick<SubscribeOptions, "since" | "rewind">

/** What it receives: the fields of `:subscribed`, and the broadcasts that follow it. */
export interface Part {
  readonly recovery: Recovery
  readonly entries: ReadonlyArray<History.Entry>
}

/** What a browser of version 0 receives, and any browser on a channel without history. */
const nothing: Part = { recovery: undefined, entries: [] }

/** What a browser receives when it subscribes now. */
export const partOf = (state: VhostState, { history }: Channel, browser: Browser, asked: Asked): Part => {
  const { rewind, since } = asked
  if (browser.version === 0) return nothing
  if (history === undefined) return since === undefined ? nothing : { recovery: noHistory, entries: [] }
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
  entries: []
})

// At least one broadcast, so that every part is a step forward.
const read = (
  state: VhostState,
  history: History.History,
  after: number,
  except: ReadonlyArray<string | undefined>,
  recovered?: boolean
): Part => {
  const { epoch, limits } = state
  const entries: Array<History.Entry> = []
  const maxSize = limits.outboxSize / 4
  let size = 0
  let position = positionOf(state)
  let more = false
  History.visitAfter(history, after, (entry) => {
    if (entry.exceptSid !== undefined && except.includes(entry.exceptSid)) return true
    size += entry.size
    if (size > maxSize && entries.length > 0) {
      position = entries.at(-1)!.position
      more = true
      return false
    }
    entries.push(entry)
    return true
  })
  return {
    recovery: { epoch, position, recovered, missed: entries.length, more },
    entries
  }
}

/** The channel has no history any more. */
const noHistory: Recovery = { recovered: false, reason: "dropped", missed: 0, more: false }
