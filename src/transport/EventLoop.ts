/**
 * Turns of the event loop, shared by all connections of this process.
 *
 * Code that handles many messages checks `isOver` after each one, and then continues in a later turn, so that sockets are read
 * and timers fire in between. A turn ends by time, 8 milliseconds, and not by a number of messages:
 * a broadcast to thousands of browsers costs a thousand times what a heartbeat costs. All connections share the time of one
 * turn, and tasks continue in the order in which they were enqueued.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"

/** How long a turn may take, in milliseconds. */
const budget = 8

/** The window of `longestTurn` in milliseconds; it covers one to two of these. */
const window = 60_000

const state = { hasBegun: false, isOver: false, startedAt: 0, seenAt: 0 }
const waiting: Array<() => void> = []
const longestTurns = { current: 0, before: 0, since: 0 }

/**
 * Begins a turn, unless one has begun.
 *
 * @since 0.1.0
 */
export const begin = (): void => {
  if (state.hasBegun) return
  state.hasBegun = true
  state.isOver = false
  state.startedAt = state.seenAt = performance.now()
  setImmediate(end)
}

/**
 * Whether the turn is over. Check it after each message: a single one may take longer than all before.
 *
 * @since 0.1.0
 */
export const isOver = (): boolean => {
  if (state.isOver) return true
  rest()
  state.isOver = state.seenAt - state.startedAt >= budget
  return state.isOver
}

/**
 * Marks the end of the work in this turn, which `longestTurn` measures.
 *
 * @since 0.1.0
 */
export const rest = (): void => {
  state.seenAt = performance.now()
}

/**
 * Calls `task` in the next turn that has time for it, after the tasks that are enqueued already.
 *
 * @since 0.1.0
 */
export const enqueue = (task: () => void): void => {
  begin()
  waiting.push(task)
}

/**
 * Waits for the next turn that has time, after the tasks that are enqueued already.
 *
 * @since 0.1.0
 */
export const next: Effect.Effect<void> = Effect.callback((resume) => {
  let isWanted = true
  enqueue(() => {
    if (isWanted) resume(Effect.void)
  })
  return Effect.sync(() => {
    isWanted = false
  })
})

/**
 * The longest turn of the last one to two minutes, in seconds.
 *
 * @since 0.1.0
 */
export const longestTurn = (): number => {
  rotate(performance.now())
  return Math.max(longestTurns.current, longestTurns.before) / 1000
}

const end = (): void => {
  state.hasBegun = false
  rotate(state.seenAt)
  longestTurns.current = Math.max(longestTurns.current, state.seenAt - state.startedAt)
  if (waiting.length === 0) return
  begin()
  let done = 0
  while (done < waiting.length && !isOver()) waiting[done++]!()
  waiting.splice(0, done)
}

const rotate = (now: number): void => {
  if (now - longestTurns.since < window) return
  longestTurns.before = now - longestTurns.since < 2 * window ? longestTurns.current : 0
  longestTurns.current = 0
  longestTurns.since = now
}
