/**
 * The positions of a vhost's log that a store has reserved, so that none is used twice after a crash.
 *
 * A broker uses the positions after those that the store has reserved at its start. It reserves many at a time, and more when
 * half of them are used. While the store fails and none are left, broadcasts of channels with history are rejected; everything
 * else goes on, since nobody outside learns of a position beyond them.
 */

import type * as Journal from "../Journal.ts"
import type { VhostState } from "./vhostState.ts"

/** Reserves positions when there are few. */
export interface Positions {
  /** The position from which on more are to be reserved. */
  readonly renewAt: () => number
  readonly renew: () => void
}

/** The positions of a log that is in memory alone. */
export const unlimited: Positions = { renewAt: () => Infinity, renew: () => {} }

/** How many positions are reserved at a time. */
const count = 2 ** 24

/** Reserves the first positions of a log. Until they are stored, there are only those that were reserved before. */
export const make = (state: VhostState, journal: Journal.Journal): Positions => {
  let renewAt = 0
  let reserving = 0
  const record = () => {
    const { departed, epoch, inboxes, rules } = state
    const floor = Math.max(departed.highest, inboxes.floor)
    journal.updated({ _tag: "Log", epoch, reserved: reserving, floor, rules: rules.digest })
  }
  state.onDeparted = record
  const renew = () => {
    const reserved = reserving = state.head + count
    renewAt = Infinity
    record()
    const whenPersisted = (persisted: boolean): void => {
      // The write is tried again.
      if (!persisted) return void journal.whenPersistedUnsafe(whenPersisted)
      state.reserved = reserved
      renewAt = reserved - count / 2
    }
    journal.whenPersistedUnsafe(whenPersisted)
  }
  renew()
  return { renewAt: () => renewAt, renew }
}
