/**
 * Handles the messages of one connection that were fed to its protocol, one after the other. While one of them is not done, or
 * the turn is over, the socket is paused: that of a stranger at once, others when they send more.
 */

import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Socket } from "node:net"
import * as EventLoop from "../EventLoop.ts"
import type { Step } from "./link.ts"
import type { Writer } from "./writer.ts"

/** The reader of one connection. */
export interface Reader {
  /** Handles what was fed, now or when the reader is no longer busy; until then no more is read. */
  readonly readUnsafe: () => void
  readonly isBusy: () => boolean
}

/** What a reader needs of its connection. */
interface Options {
  readonly socket: Socket
  readonly writer: Writer
  readonly step: () => Step
  /** Whether the peer is not authorized: then all others come first. */
  readonly isStranger: () => boolean
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly onDefect: (defect: unknown) => void
  /** Called when the reader was busy and is idle again. */
  readonly onRest: () => void
}

/** Makes it. */
export const make = (options: Options): Reader => {
  const { fork, onDefect, socket, step, writer } = options
  const turns = makeTurns(options.isStranger)
  let isBusy = false

  const wait = (): void => {
    isBusy = true
    // Mostly nothing more comes meanwhile, and to pause and resume a socket costs as much as to handle a message.
    if (options.isStranger()) socket.pause()
  }
  const goOn = (): void => {
    isBusy = false
    read()
    if (isBusy) return
    options.onRest()
    if (!socket.destroyed && socket.isPaused()) socket.resume()
  }
  // Returns whether there is nothing more to do for now.
  const readNext = (): boolean => {
    if (turns.isOver()) {
      wait()
      turns.enqueue(goOn)
      return true
    }
    const next = step()
    if (next === "needs more" || next === "done") return next === "needs more"
    const fiber = fork(next)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) {
      report(exit, onDefect)
      return false
    }
    wait()
    fiber.addObserver((exit) => {
      report(exit, onDefect)
      goOn()
    })
    return true
  }
  const read = (): void => {
    EventLoop.begin()
    writer.handlingUnsafe(true)
    const handled = Result.try(() => {
      while (!readNext());
    })
    if (Result.isFailure(handled)) onDefect(handled.failure)
    EventLoop.rest()
    writer.flushUnsafe()
    writer.handlingUnsafe(false)
  }
  return {
    readUnsafe: () => {
      if (isBusy) socket.pause()
      else read()
    },
    isBusy: () => isBusy
  }
}

// A stranger has shares alone, so that however many there are, others do not wait for them.
const makeTurns = (isStranger: () => boolean) => {
  let share = 0
  return {
    isOver: (): boolean => isStranger() ? EventLoop.isShareOver(share) : EventLoop.isOver(),
    enqueue: (task: () => void): void => {
      if (!isStranger()) return EventLoop.enqueue(task)
      EventLoop.enqueueLast(() => {
        share = EventLoop.shareFromNow()
        task()
      })
    }
  }
}

const report = (exit: Exit.Exit<void>, onDefect: (defect: unknown) => void): void => {
  if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) onDefect(exit.cause)
}
