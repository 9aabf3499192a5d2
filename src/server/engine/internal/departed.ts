/**
 * What is remembered of channels with history that were opened on demand and are closed again, so that a browser that comes
 * back to one learns whether it has missed anything.
 *
 * For each there is the position up to which its broadcasts are gone. Beyond the capacity the oldest are forgotten, and all
 * forgotten ones share the highest of their positions. So a browser may be told of a gap that is none, and never the reverse.
 */

import * as SizedMap from "../../../protocol/SizedMap.ts"
import type { History } from "./history.ts"

/** Where a history begins. */
export type Beginning = Pick<History, "opened" | "floor">

/** Channels that are closed. */
export interface Departed {
  beginnings: SizedMap.SizedMap<Beginning>
  /** The beginning of all others. */
  floor: number
  /** The highest of all. */
  highest: number
}

/** How many channels are remembered. */
const capacity = 10_000

const noBeginnings = () => SizedMap.make<Beginning>(() => 0)

/** Nothing is retained of what was broadcast up to this position. */
export const make = (floor: number): Departed => ({
  beginnings: noBeginnings(),
  floor,
  highest: floor
})

/** Remembers a channel that is closed, and returns whether `highest` has changed. */
export const remember = (departed: Departed, name: string, { floor, opened }: Beginning): boolean => {
  // What the others have is enough.
  if (floor <= departed.floor) return false
  const { beginnings, highest } = departed
  departed.highest = Math.max(highest, floor)
  beginnings.set(name, { opened, floor })
  if (beginnings.entries.size > capacity) forgetOldest(departed)
  return departed.highest > highest
}

const forgetOldest = (departed: Departed): void => {
  const oldest = departed.beginnings.removeOldest()
  if (oldest !== undefined) departed.floor = Math.max(departed.floor, oldest[1].floor)
}

/** Forgets all channels: nothing up to this position is known of any. */
export const forgetAll = (departed: Departed, position: number): void => {
  departed.beginnings = noBeginnings()
  departed.floor = departed.highest = position
}

/** The beginning of a channel that is opened again. */
export const beginningOf = ({ beginnings, floor }: Departed, name: string): Beginning =>
  beginnings.entries.get(name) ?? { opened: 0, floor }

/** The channel is open again. */
export const forget = ({ beginnings }: Departed, name: string): void => {
  beginnings.remove(name)
}
