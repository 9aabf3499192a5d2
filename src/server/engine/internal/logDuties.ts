/**
 * What the leader of the nodes does for all: it ends the graces whose time is over, and lets time pass for what is too old when
 * nobody else appends anything.
 *
 * Its clock is only for when. What ends is in the log, so that all nodes end the same. Time in which the log could not be
 * reached does not count, because no browser could come back then.
 */

import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Grace } from "./channel.ts"
import type * as Heap from "./heap.ts"
import * as History from "./history.ts"
import type { Operation } from "./operations.ts"
import { leaderOf, type Replica } from "./replica.ts"
import * as Timeline from "./timeline.ts"
import type { Turns } from "./turns.ts"

/** How many graces are ended at a time. */
const part = 1000

/** How many milliseconds the end of a grace may be late before it shows that there was no time to come back. */
const tolerance = 1000

/** How many milliseconds pass without an entry before one is appended because something is too old. */
const quiet = 10_000

/** The duties of the leader. */
export interface Duties {
  /** When the next one is due, in monotonic milliseconds; `undefined` without one, and on other nodes. */
  readonly nextDue: () => number | undefined
  /** Does what is due. */
  readonly sweep: Effect.Effect<void>
  /** An entry is applied now: its time is this one. */
  readonly applied: () => void
}

/** Makes the duties of a node, which it does while it leads. */
export const make = (replica: Replica, turns: Pick<Turns, "commit">, clock: Clock.Clock): Duties => {
  const { state } = replica
  const now = () => Timeline.nowOf(clock)
  let appliedAt = now()
  // By how much graces are longer than they say.
  let stood = 0
  let notBefore = -Infinity
  const graceDue = () => {
    const next = state.graces.ends.peek()
    return next === undefined ? Infinity : appliedAt + next.until - replica.time + stood
  }
  const tickDue = () => {
    const due = History.nextDue(state.histories)
    return due === undefined ? Infinity : appliedAt + Math.max(quiet, due - replica.time)
  }
  const nextDue = () => {
    if (leaderOf(replica) !== replica.self) return undefined
    const due = Math.min(graceDue(), tickDue())
    return due === Infinity ? undefined : Math.max(due, notBefore)
  }
  return {
    nextDue,
    applied: () => {
      appliedAt = now()
    },
    sweep: Effect.suspend(() => {
      const due = nextDue()
      if (due === undefined || due > now()) return Effect.void
      const late = now() - graceDue()
      if (late > tolerance) {
        stood += late + tolerance
        return Effect.void
      }
      const operations = late >= 0 ? endsOf(state.graces.ends, now() - appliedAt + replica.time - stood) : [tick]
      const committed = Effect.forEach(operations, (operation) => turns.commit(operation), {
        concurrency: "unbounded",
        discard: true
      })
      return Effect.catch(committed, () => {
        notBefore = now() + tolerance
        return Exit.void
      })
    })
  }
}

const tick: Operation = { _tag: "Tick" }

// They stay where they are, until their ends are applied.
const endsOf = (ends: Heap.Heap<Grace>, until: number): ReadonlyArray<Operation> => {
  const due: Array<Grace> = []
  for (let next = ends.peek(); next !== undefined && next.until <= until && due.length < part; next = ends.peek()) {
    due.push(next)
    ends.take()
  }
  for (const { channel: { graces }, uid } of due) {
    for (const entry of graces?.get(uid) ?? []) if (entry.index < 0) ends.put(entry)
  }
  return due.map(({ channel, member, uid, until }) => ({
    _tag: "EndGrace",
    channel: channel.name,
    uid,
    sid: member?.value?.browser.sid,
    until
  }))
}
