/**
 * The requests that wait for their response, and their deadlines.
 *
 * One fiber watches all deadlines, and only while there are any: a timer for each request costs more than the request.
 * Deadlines use a monotonic clock. If a timer is overdue, responses that have arrived are read before requests time out. If a
 * callback throws, the defect is logged and other requests are not affected.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Frames } from "../../protocol/Frame.ts"
import { type ConnectionError, RequestTimeoutError } from "../../protocol/KosmonautError.ts"
import * as AwakeClock from "../../transport/AwakeClock.ts"
import * as Flight from "./flight.ts"

/** Handles the outcome of a request. Exactly one of the two functions is called, once. */
export interface ResponseHandler {
  /** The response has come. */
  readonly onResponse: (frames: Frames) => void
  /** There will be no response. A defect is the transport's. */
  readonly onFailure: (cause: Cause.Cause<ConnectionError | RequestTimeoutError>, request: Pending) => void
}

/** A request without a response. */
export interface Pending {
  /** The id of the connection on which it is sent. */
  readonly connection: string
  /** Its id there. It counts up from 1 in base 36. */
  envelope: string
  readonly command: string
  readonly handler: ResponseHandler
  /** What is to be sent, until it is sent. */
  frames: Frames | undefined
  readonly deadline: number
  /** How much later than that its response may come, in milliseconds. */
  readonly extraTime: number
}

/** The requests without a response, those of one connection at a time. */
export interface PendingRequests {
  /** How many there are. */
  readonly size: () => number
  /** Adds a request that is about to be sent. */
  readonly addUnsafe: (
    connection: string,
    command: string,
    frames: Frames | undefined,
    handler: ResponseHandler
  ) => Pending
  /** Passes a response to its request; ignored if that was cancelled. */
  readonly respondUnsafe: (envelope: string, frames: Frames) => void
  /** Fails a request that was taken out. */
  readonly failUnsafe: (request: Pending, cause: Cause.Cause<ConnectionError | RequestTimeoutError>) => void
  /** Takes out the request of this envelope. */
  readonly takeUnsafe: (envelope: string) => Pending | undefined
  /** Something was received, so the connection is alive. */
  readonly receivedUnsafe: () => void
  /** Takes out all requests, in order. */
  readonly takeAllUnsafe: () => ReadonlyArray<Pending>
}

/** The options of the table. */
export interface Options {
  readonly timeout: Duration.Duration
  /** How much longer the response to these frames may take, in milliseconds. */
  readonly extraTime: (frames: Frames) => number
  /** Called with a request that times out, before its caller. */
  readonly onTimeout: (request: Pending) => void
  /** Runs before that if nothing was received since the request was made. */
  readonly onSilence: Effect.Effect<void>
}

interface State {
  readonly clock: AwakeClock.AwakeClock
  readonly timeout: number
  /** In the order of their deadlines, since all have the same time. */
  readonly pending: Flight.Flight<Pending>
  /** Those that wait longer, since a worker has to respond. */
  readonly slow: Map<number, Pending>
  lastReceived: number
}

/** Makes the table. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const scope = yield* Effect.scope
  const services = yield* Effect.context()
  const state: State = {
    clock: AwakeClock.make(yield* Clock.Clock),
    timeout: Duration.toMillis(options.timeout),
    pending: Flight.make(),
    slow: new Map(),
    lastReceived: 0
  }
  const { clock, pending, slow, timeout } = state

  const run = (effect: Effect.Effect<void>) => {
    Fiber.runIn(Effect.runForkWith(services)(effect), scope)
  }
  const failUnsafe: PendingRequests["failUnsafe"] = (request, cause) => {
    const outcome = Result.try(() => request.handler.onFailure(cause, request))
    if (Result.isFailure(outcome)) run(logDefect(outcome.failure))
  }
  const watch = makeWatch(state, options, { run, failUnsafe })

  const takeUnsafe = (envelope: string): Pending | undefined => {
    const number = numberOf(envelope)
    const request = pending.take(number) ?? slow.get(number)
    if (slow.size > 0) slow.delete(number)
    return request
  }
  const table: PendingRequests = {
    size: () => pending.size() + slow.size,
    addUnsafe: (connection, command, frames, handler) => {
      const deadline = clock.nowUnsafe() + timeout
      const extraTime = frames === undefined ? 0 : options.extraTime(frames)
      const request: Pending = { connection, envelope: "", command, handler, frames, deadline, extraTime }
      request.envelope = pending.add(request).toString(36)
      watch()
      return request
    },
    respondUnsafe: (envelope, frames) => takeUnsafe(envelope)?.handler.onResponse(frames),
    failUnsafe,
    takeUnsafe,
    takeAllUnsafe: () => {
      const all = [...slow.values(), ...pending.takeAll()]
      slow.clear()
      return all
    },
    receivedUnsafe: () => {
      state.lastReceived = clock.nowUnsafe()
    }
  }
  return table
})

// Watches the deadlines while there are any.
const makeWatch = (
  state: State,
  options: Options,
  { failUnsafe, run }: Pick<PendingRequests, "failUnsafe"> & { readonly run: (effect: Effect.Effect<void>) => void }
) => {
  const { clock, pending, slow, timeout } = state

  const expire = Effect.fnUntraced(function*(number: number, request: Pending) {
    const { command, deadline, extraTime } = request
    if (pending.take(number) !== undefined && extraTime > 0 && request.frames === undefined) {
      slow.set(number, request)
      watchSlow()
      return
    }
    slow.delete(number)
    if (state.lastReceived < deadline - timeout) yield* Effect.catchDefect(options.onSilence, logDefect)
    const wasSent = request.frames === undefined ? "maybe" : "no"
    const error = new RequestTimeoutError({ command, after: Duration.millis(timeout + extraTime), wasSent })
    options.onTimeout(request)
    failUnsafe(request, Cause.fail(error))
  })
  const watchSlow = makeWatcher(
    run,
    () => slow.size === 0,
    Effect.gen(function*() {
      yield* clock.sleep(slowStep)
      for (const [number, request] of slow) {
        if (request.deadline + request.extraTime <= clock.nowUnsafe()) yield* expire(number, request)
      }
    })
  )
  return makeWatcher(
    run,
    () => pending.first() === undefined,
    Effect.suspend(() => {
      const { number, value } = pending.first()!
      const left = value.deadline - clock.nowUnsafe()
      return left > aMicrosecond ? clock.sleep(left) : expire(number, value)
    })
  )
}

// Repeats `step` in a fiber, which is started unless it runs. The fiber ends in the same step in which it finds nothing left: a
// request may be made before the next one.
const makeWatcher = (
  run: (effect: Effect.Effect<void>) => void,
  isEmpty: () => boolean,
  step: Effect.Effect<void>
) => {
  let isRunning = false
  const watch = Effect.gen(function*() {
    while (!isEmpty()) yield* step
    isRunning = false
  }).pipe(Effect.catchDefect((defect) => {
    isRunning = false
    return logDefect(defect)
  }))
  return () => {
    if (isRunning) return
    isRunning = true
    run(watch)
  }
}

/** Logs what a callback threw. */
export const logDefect = (defect: unknown): Effect.Effect<void> =>
  Effect.logError("A callback of a request has failed", Cause.die(defect))

const aMicrosecond = 0.001

/** How often to look for slow requests that have timed out, in milliseconds. */
const slowStep = 500

// Text that is no id gives 0, which no request has.
const numberOf = (id: string): number => {
  let number = 0
  for (let index = 0; index < id.length; index++) {
    const char = id.charCodeAt(index)
    const digit = char <= 0x39 /* 9 */ ? char - 0x30 : char >= 0x61 /* a */ ? char - 0x57 : -1
    if (digit < 0 || digit > 35) return 0
    number = number * 36 + digit
  }
  return number
}
