/**
 * The turns of a node in a shared queue: what it wants is collected, and executed together, one turn at a time.
 *
 * A turn that fails is repeated until it succeeds or the node is fenced. What is wanted waits meanwhile, for at most `patience`:
 * then it fails, and says whether it may be executed later. So does what is beyond `maxWaiting` and `maxWaitingSize`.
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import { type Capacity, type Lane, Outcome } from "../EventQueue.ts"
import type { Answer, Call, Settled, SharedQueue, Turn, TurnResult } from "../SharedQueue.ts"
import { supervised } from "../Supervisor.ts"
import * as SharedTime from "./sharedTime.ts"

/** How a call ended; `undefined` if it failed. */
export type Done = (answer: Answer | undefined, result: TurnResult | "maybe" | "never") => void

/** An event that this node has, with its size if an ack does no more than to delete it. */
export interface Held {
  readonly number: number
  readonly sizeInQueue: number | undefined
}

/** The turns. */
export interface Turns {
  /** Adds a call to the next turn. `done` is called once. */
  readonly add: (call: Call, done: Done) => void
  /** Adds the end of deliveries to the next turn. */
  readonly settle: (events: ReadonlyArray<Held>, outcome: Outcome) => void
  /** There is to be a turn. */
  readonly need: () => void
  /** Executes turns; run it in a fiber. Does not end. */
  readonly run: Effect.Effect<never>
  /** Executes what is left, and ends when that has succeeded or the node is fenced. Call this when `run` has been interrupted. */
  readonly finish: Effect.Effect<void>
  /** What the node had left to give when its last turn was executed. */
  readonly told: () => Readonly<Record<Lane, Capacity>>
  /** What the queue's clock says at a time of this node. */
  readonly timeAt: SharedTime.SharedTime["at"]
}

/** What the turns need. */
export interface Options {
  readonly shared: SharedQueue
  /** Monotonic time in milliseconds. */
  readonly now: () => number
  readonly capacity: () => Readonly<Record<Lane, Capacity>>
  /** Whether the node waits for responses. */
  readonly awaitsResponses: () => boolean
  /** Whether the node waits for events or responses, so that it must look every second, should a wake-up be lost. */
  readonly isWaiting: () => boolean
  /** Called with the result of each turn, and with when that began, before the calls are done. */
  readonly onResult: (result: TurnResult, began: number) => void
  /** Called once when the node is fenced, after all calls have failed. */
  readonly onFenced: () => void
}

/** How long a call waits for its turn to succeed, in milliseconds. */
const patience = 5000

/** How many calls wait at most, and how many bytes they have. */
const maxWaiting = 10_000
const maxWaitingSize = 64 * 1_048_576

/** How many calls, bytes and settled deliveries a turn has at most. */
const maxCalls = 1000
const maxSize = 4 * 1_048_576
const maxSettled = 4000

/** How often a node looks that waits for something, and one that does not, in milliseconds. */
const pollInterval = 1000
const idleInterval = 10_000

/** How long to wait before a turn is repeated, at first and at most, in milliseconds. */
const firstPause = 50
const longestPause = 1000

interface Waiting {
  readonly call: Call
  readonly done: Done
  readonly addedAt: number
  readonly size: number
  isDone: boolean
}

interface State {
  readonly options: Options
  readonly time: SharedTime.SharedTime
  readonly needed: Latch.Latch
  isNeeded: boolean
  isFenced: boolean
  number: number
  /** The turn that is under way. */
  turn: Turn | undefined
  waiting: Array<Waiting>
  size: number
  /** What it has of `waiting`. */
  sent: ReadonlyArray<Waiting>
  /** What was acked and has a size: the numbers and the sizes. */
  acked: Array<number>
  sizes: Array<number>
  others: Array<Settled>
  responsesSeen: number
  polledAt: number
  told: Readonly<Record<Lane, Capacity>>
}

const nothing: Readonly<Record<Lane, Capacity>> = {
  events: { workers: 0, credits: 0, idle: 0 },
  requests: { workers: 0, credits: 0, idle: 0 },
  lifecycle: { workers: 0, credits: 0, idle: 0 }
}

/** Makes the turns, none yet. */
export const make = (options: Options): Turns => {
  const state: State = {
    options,
    time: SharedTime.make(),
    needed: Latch.makeUnsafe(true),
    // The first turn tells what there is.
    isNeeded: true,
    isFenced: false,
    number: 0,
    turn: undefined,
    waiting: [],
    size: 0,
    sent: [],
    acked: [],
    sizes: [],
    others: [],
    responsesSeen: 0,
    polledAt: -Infinity,
    told: nothing
  }
  const need = () => {
    state.isNeeded = true
    state.needed.openUnsafe()
  }
  return {
    add: (call, done) => {
      const size = sizeOf(call)
      if (state.isFenced || state.waiting.length >= maxWaiting || state.size + size > maxWaitingSize) {
        return done(undefined, "never")
      }
      state.waiting.push({ call, done, size, addedAt: options.now(), isDone: false })
      state.size += size
      need()
    },
    settle: (events, outcome) => {
      if (state.isFenced) return
      settle(state, events, outcome)
      need()
    },
    need,
    run: supervised(
      "The queue that nodes share",
      Effect.tapCause(
        Effect.forever(Effect.andThen(untilNeeded(state), execute(state))),
        () => Effect.sync(() => giveUp(state))
      )
    ),
    finish: finish(state),
    told: () => state.told,
    timeAt: state.time.at
  }
}

const settle = ({ acked, others, sizes }: State, events: ReadonlyArray<Held>, outcome: Outcome): void => {
  const numbers: Array<number> = []
  for (const { number, sizeInQueue } of events) {
    if (outcome._tag === "Acked" && sizeInQueue !== undefined) {
      acked.push(number)
      sizes.push(sizeInQueue)
    } else numbers.push(number)
  }
  if (numbers.length > 0) others.push({ numbers, outcome })
}

const sizeOf = (call: Call): number =>
  call._tag === "Enqueue" ? call.size : call._tag === "Emit" ? call.events.reduce((sum, { size }) => sum + size, 0) : 0

const untilNeeded = (state: State): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (state.isFenced) return Effect.never
    // What else is wanted in this turn of the event loop joins it.
    if (state.isNeeded || state.turn !== undefined) return Effect.yieldNow
    const interval = state.options.isWaiting() ? pollInterval : idleInterval
    return Effect.andThen(Effect.timeoutOption(state.needed.await, Duration.millis(interval)), Effect.yieldNow)
  })

const begin = (state: State): Turn => {
  const { options } = state
  const now = options.now()
  state.isNeeded = false
  state.needed.closeUnsafe()
  state.sent = takeCalls(state)
  const isPoll = now - state.polledAt >= pollInterval
  if (isPoll) state.polledAt = now
  const { events, lifecycle, requests } = options.capacity()
  state.told = { events: { ...events }, requests: { ...requests }, lifecycle: { ...lifecycle } }
  return {
    number: ++state.number,
    settled: takeSettled(state),
    calls: state.sent.map((one) => callOf(state, one, now)),
    capacity: state.told,
    responsesSeen: state.responsesSeen,
    // Of requests that have ended here there may be some, too.
    takesResponses: isPoll || options.awaitsResponses(),
    isPoll,
    madeAt: state.time.at(now)
  }
}

const callOf = ({ time }: State, { addedAt, call }: Waiting, now: number): Call => {
  if (call._tag !== "Enqueue") return call
  const since = time.at(addedAt + call.delay)
  return call.timeLeft === undefined
    ? { ...call, since }
    : { ...call, since, timeLeft: Math.max(0, Math.ceil(call.timeLeft - (now - addedAt))) }
}

const takeCalls = (state: State): ReadonlyArray<Waiting> => {
  let count = 0
  let size = 0
  for (const one of state.waiting) {
    if (count > 0 && (count >= maxCalls || size + one.size > maxSize)) break
    count++
    size += one.size
  }
  state.size -= size
  const taken = state.waiting.splice(0, count)
  if (state.waiting.length > 0) again(state)
  return taken
}

const takeSettled = (state: State): ReadonlyArray<Settled> => {
  const numbers = state.acked.splice(0, maxSettled)
  const sizes = state.sizes.splice(0, maxSettled)
  const settled = state.others.splice(0, maxSettled)
  if (state.acked.length > 0 || state.others.length > 0) again(state)
  return numbers.length === 0 ? settled : [{ numbers, sizes, outcome: acked }, ...settled]
}

const acked = Outcome.Acked()

const again = (state: State): void => {
  state.isNeeded = true
  state.needed.openUnsafe()
}

// Repeats the turn until it succeeds.
const execute = (state: State): Effect.Effect<void> =>
  Effect.gen(function*() {
    const turn = state.turn ??= begin(state)
    for (let failures = 0;; failures++) {
      const began = state.options.now()
      const done = yield* Effect.result(state.options.shared.run(turn))
      if (Result.isSuccess(done)) {
        state.time.observe(began, state.options.now(), done.success.time)
        if (failures > 0) yield* Effect.logInfo("The shared queue works again")
        return end(state, done.success, began)
      }
      if (done.failure.isFenced) return fence(state)
      if (failures === 0) yield* Effect.logWarning(`The shared queue has failed: ${done.failure.message}. Retrying`)
      giveUp(state)
      yield* Effect.sleep(Duration.millis(Math.min(longestPause, firstPause * 2 ** failures)))
    }
  })

const finish = (state: State): Effect.Effect<void> =>
  Effect.whileLoop({
    while: () => !state.isFenced && (state.turn !== undefined || isLeft(state)),
    body: () => execute(state),
    step: constVoid
  })

const isLeft = ({ acked, others, waiting }: State): boolean => waiting.length + acked.length + others.length > 0

const end = (state: State, result: TurnResult, began: number): void => {
  const { sent } = state
  state.turn = undefined
  state.sent = []
  state.responsesSeen = result.responses.length
  state.told = leftOf(state.told, result)
  // There may be more.
  if (result.claimed.length >= mostClaimed || result.responses.length > 0) again(state)
  state.options.onResult(result, began)
  for (const [index, one] of sent.entries()) {
    if (!one.isDone) one.done(result.answers[index]!, result)
  }
}

/** With how many claims a turn may have left some. */
const mostClaimed = 1000

const leftOf = (told: State["told"], { claimed }: TurnResult): State["told"] => {
  const used = (lane: Lane) => claimed.reduce((count, one) => one.lane === lane ? count + 1 : count, 0)
  const credits = told.events.credits - claimed.length
  const ofLane = (lane: Lane): Capacity => ({
    ...told[lane],
    credits: Math.max(0, Math.min(credits, told[lane].credits - used(lane)))
  })
  return {
    events: { ...told.events, credits },
    requests: ofLane("requests"),
    lifecycle: ofLane("lifecycle")
  }
}

// What waits too long fails. What was sent is repeated all the same.
const giveUp = (state: State): void => {
  const before = state.options.now() - patience
  for (const one of state.sent) {
    if (one.addedAt > before || one.isDone) continue
    one.isDone = true
    one.done(undefined, "maybe")
  }
  const count = state.waiting.findIndex(({ addedAt }) => addedAt > before)
  for (const one of state.waiting.splice(0, count === -1 ? state.waiting.length : count)) {
    state.size -= one.size
    one.done(undefined, "never")
  }
}

const fence = (state: State): void => {
  state.isFenced = true
  state.turn = undefined
  for (const one of state.sent) if (!one.isDone) one.done(undefined, "maybe")
  for (const one of state.waiting.splice(0)) one.done(undefined, "never")
  state.options.onFenced()
}
