/**
 * Takes the items of an inbox and handles them, at most `concurrency` at a time, each in a fiber of its own. A handler begins in the
 * step of the event loop that has read its event, or in that of another handler's end. After 5 ms of handlers that do not wait,
 * the event loop turns.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import { TransientMap } from "../../protocol/TransientMap.ts"
import type { Inbox, Item } from "./inbox.ts"

/**
 * Runs an effect in a fiber, which is one of the pool until it ends, and calls `onExit` then: at once, if it does not wait. Gives the
 * fiber of one that waits.
 */
export type Fork<R> = <A, E>(
  effect: Effect.Effect<A, E, R>,
  onExit: (exit: Exit.Exit<A, E>) => void,
  context?: Context.Context<R>
) => Fiber.Fiber<A, E> | undefined

/** Handles an item by fibers of the pool, and calls `end` when all is done, with what must end the pool, if anything. */
export type Handle<E, R> = (item: Item, pool: Handles<R>, end: (failure: Cause.Cause<E> | undefined) => void) => void

/** What a handler runs by. */
export interface Handles<R> {
  readonly fork: Fork<R>
  readonly context: Context.Context<R>
}

/** The handlers that run. */
export interface HandlerPool {
  /** How many items are being handled. */
  readonly inFlight: () => number
  /** Waits until no item is being handled, and none waits for it. */
  readonly idle: Effect.Effect<void>
  /** From now on releases events instead of handling them, if they can be released. */
  readonly drainUnsafe: () => void
  /** Interrupts all handlers, and waits for them. Their failures are ignored from then on. */
  readonly interrupt: Effect.Effect<void>
}

/** The options of a pool. */
export interface Options<E, R> {
  readonly inbox: Inbox
  readonly concurrency: number
  readonly context: Context.Context<R>
  readonly handle: Handle<E, R>
  /** Hears the first failure. Nothing more begins after it. */
  readonly onFailure: (cause: Cause.Cause<E>) => void
}

/** For how long handlers that do not wait may follow each other, in nanoseconds. */
const turn = 5_000_000n

/** Makes it, and begins. */
export const make = <E, R>({ concurrency, context, handle, inbox, onFailure }: Options<E, R>): HandlerPool => {
  const clock = Context.get(context, Clock.Clock)
  const fibers = makeFibers(context)
  const idle = Latch.makeUnsafe(true)
  let inFlight = 0
  let mode: "running" | "draining" | "failed" = "running"
  let isTaking = false

  const isIdle = () => inFlight === 0 && (mode === "failed" || inbox.size() === 0)
  const hasRoom = () => inFlight < concurrency && mode !== "failed"
  const end = (failure: Cause.Cause<E> | undefined): void => {
    inFlight--
    if (failure !== undefined && mode !== "failed") {
      mode = "failed"
      onFailure(failure)
    }
    take()
  }
  const begin = (item: Item): void => {
    if (mode === "draining" && releaseUnsafe(item) || !beginUnsafe(item)) return
    inFlight++
    handle(item, fibers, end)
  }
  const takeSome = (): void => {
    const until = clock.monotonicTimeNanosUnsafe() + turn
    while (hasRoom()) {
      const item = inbox.takeUnsafe()
      if (item === undefined) return
      begin(item)
      if (clock.monotonicTimeNanosUnsafe() >= until) {
        setImmediate(take)
        return
      }
    }
  }
  // Called again by each handler that ends within it.
  const take = (): void => {
    if (isTaking) return
    isTaking = true
    takeSome()
    isTaking = false
    if (isIdle()) idle.openUnsafe()
  }
  inbox.onArrival(take)
  take()

  return {
    inFlight: () => inFlight,
    idle: Effect.suspend(() => {
      if (!isIdle()) idle.closeUnsafe()
      return idle.await
    }),
    drainUnsafe: () => {
      if (mode === "running") mode = "draining"
    },
    interrupt: Effect.suspend(() => {
      mode = "failed"
      return fibers.interrupt
    })
  }
}

const makeFibers = <R>(context: Context.Context<R>): Handles<R> & Pick<HandlerPool, "interrupt"> => {
  const running = new TransientMap<number, Fiber.Fiber<unknown, unknown>>()
  let isInterrupted = false
  return {
    context,
    fork: (effect, onExit, own = context) => {
      if (isInterrupted) {
        onExit(Exit.interrupt())
        return undefined
      }
      const fiber = Effect.runForkWith(own)(effect)
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) {
        onExit(exit)
        return undefined
      }
      running.set(fiber.id, fiber)
      fiber.addObserver((exit) => {
        running.delete(fiber.id)
        onExit(exit)
      })
      return fiber
    },
    interrupt: Effect.suspend(() => {
      isInterrupted = true
      return Fiber.interruptAll([...running.values()])
    })
  }
}

// An event without a delivery is handled here even if its connection has ended.
const beginUnsafe = (item: Item): boolean =>
  Result.isFailure(item) || item.success.delivery === undefined || item.success.delivery.beginUnsafe()

/** Releases an event; `false` if it cannot be released because it has no delivery. */
export const releaseUnsafe = (item: Item): boolean => {
  if (Result.isFailure(item) || item.success.delivery === undefined) return false
  item.success.delivery.releaseUnsafe()
  return true
}
