/**
 * Turns of the event loop, shared by all connections of this process.
 *
 * Code that handles many messages checks `isOver` after each one, and then continues in a later turn, so that sockets are read
 * and timers fire in between. A turn ends by time, 8 milliseconds, and not by a number of messages:
 * a broadcast to thousands of browsers costs a thousand times what a heartbeat costs. All connections share the time of one
 * turn, and those that wait go on in the order in which they came. Writing to browsers comes before them, and all have to
 * wait for it if more would have to be queued than is written at once. What strangers and browsers ask for beyond one message
 * comes after them.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"

/** How long a turn may take, in milliseconds. */
const budget = 8

/** How long one of those that come last may go on, in milliseconds. */
const share = 0.25

/** How long what comes last may take if nothing is left of the turn, in milliseconds. */
const lastBudget = 4

/** The window of `longestTurn` in milliseconds; it covers one to two of these. */
const window = 60_000

const state = {
  hasBegun: false,
  next: undefined as NodeJS.Immediate | undefined,
  isOver: false,
  isFinished: false,
  startedAt: 0,
  seenAt: 0,
  count: 0
}
const first: Array<() => void> = []
const waiting: Array<() => void> = []
const last: Array<() => void> = []
const longestTurns = { current: 0, before: 0, since: 0 }

/**
 * Begins a turn, unless one has begun.
 *
 * @since 0.1.0
 */
export const begin = (): void => {
  if (state.hasBegun) return
  state.hasBegun = true
  state.count++
  state.next = setImmediate(end)
  restart()
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
 * Whether the turn has taken twice its time. Whatever costs little waits for a turn then, too: there may be hundreds of it.
 *
 * @since 0.1.0
 */
export const isLate = (): boolean => isOver() && performance.now() - state.startedAt >= 2 * budget

/**
 * The number of this turn.
 *
 * @since 0.1.0
 */
export const current = (): number => state.count

/**
 * When a share ends that begins now: how long one of those that come last may go on before the next of them.
 *
 * @since 0.1.0
 */
export const shareFromNow = (): number => performance.now() + share

/**
 * Whether a share is over.
 *
 * @since 0.1.0
 */
export const isShareOver = (share: number): boolean => performance.now() >= share

/**
 * Ends the turn for all, whatever its time.
 *
 * @since 0.1.0
 */
export const finish = (): void => {
  begin()
  state.isOver = state.isFinished = true
}

/**
 * Ends the measurement of this turn, because there is nothing more to do in it.
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
 * Calls `task` in a turn of its own, before those that wait. They have theirs at once after it, unless it was finished.
 *
 * @since 0.1.0
 */
export const enqueueFirst = (task: () => void): void => {
  begin()
  first.push(task)
}

/**
 * Calls `task` in a turn, after all that wait there. However many of these there are, together they take what is left of a turn, or
 * 4 milliseconds if that is more. Each should end with its share, and enqueue itself again if it has more to do: so one with little to do
 * has its share soon, whatever the others have to do.
 *
 * @since 0.1.0
 */
export const enqueueLast = (task: () => void): void => {
  begin()
  last.push(task)
}

const waitIn = (enqueueIt: (task: () => void) => void): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let isWanted = true
    enqueueIt(() => {
      if (isWanted) resume(Effect.void)
    })
    return Effect.sync(() => {
      isWanted = false
    })
  })

/**
 * Waits for the next turn that has time.
 *
 * @since 0.1.0
 */
export const next: Effect.Effect<void> = waitIn(enqueue)

/**
 * Waits for a turn, after all others, see `enqueueLast`.
 *
 * @since 0.1.0
 */
export const nextLast: Effect.Effect<void> = waitIn(enqueueLast)

/**
 * The longest turn of the last one to two minutes, in seconds.
 *
 * @since 0.1.0
 */
export const longestTurn = (): number => {
  rotate(performance.now())
  return Math.max(longestTurns.current, longestTurns.before) / 1000
}

const restart = (): void => {
  state.isOver = state.isFinished = false
  state.startedAt = state.seenAt = performance.now()
}

const end = (): void => {
  finishTurn()
  if (!isNeeded()) return
  restart()
  if (first.length > 0) callFirst()
  if (state.isFinished || !isNeeded()) return
  begin()
  callOthers()
  if (isNeeded()) return
  // Another turn with nothing to do would cost a round of the event loop.
  clearImmediate(state.next)
  finishTurn()
}

const isNeeded = (): boolean => waiting.length + first.length + last.length > 0

const finishTurn = (): void => {
  state.hasBegun = false
  measure()
}

// Mostly they are all there is to do. So they have no next turn to be set up, unless they begin one.
const callFirst = (): void => {
  for (const task of first.splice(0)) task()
  rest()
  measure()
  if (!state.isFinished) restart()
}

const callOthers = (): void => {
  // Those that come meanwhile have the next turn.
  const count = waiting.length
  let done = 0
  while (done < count && !isOver()) waiting[done++]!()
  waiting.splice(0, done)
  callLast()
  rest()
}

// Those that come meanwhile, too: maybe one alone has much to do.
const callLast = (): void => {
  const end = performance.now() + lastBudget
  let done = 0
  while (done < last.length && !(isOver() && performance.now() >= end)) last[done++]!()
  last.splice(0, done)
}

const measure = (): void => {
  rotate(state.seenAt)
  longestTurns.current = Math.max(longestTurns.current, state.seenAt - state.startedAt)
}

const rotate = (now: number): void => {
  if (now - longestTurns.since < window) return
  longestTurns.before = now - longestTurns.since < 2 * window ? longestTurns.current : 0
  longestTurns.current = 0
  longestTurns.since = now
}
