/**
 * The outbound queue of one connection: bounded in bytes, in order, many messages in one write.
 *
 * Messages that are sent while others are handled are flushed when those are done, other messages at the end of the turn. A message
 * that comes alone, as the last one did, is flushed immediately, and so are a few dozen messages, unless they belong together. `settled`
 * is called exactly once with whether the system accepted a message.
 */

import { constVoid } from "effect/Function"
import * as Result from "effect/Result"
import type { Socket } from "node:net"
import type { Frames } from "../../protocol/Frame.ts"
import * as Eager from "../Eager.ts"

/** A message to send. */
export interface Sending {
  /** The frames before the delimiter of a message that is sent by itself; absent in one that has an `envelope` of text. */
  readonly prefix: ReadonlyArray<string | Uint8Array> | undefined
  readonly envelope: string
  readonly frames: Frames
  readonly settled: ((delivered: boolean) => void) | undefined
}

/** The outbound queue of one connection. */
export interface Writer {
  /** Sends a message. `false`, also for `settled`, if the connection has ended or the queue is full; then nothing is sent. */
  readonly sendUnsafe: (sending: Sending) => boolean
  /** Writes the queued messages. */
  readonly flushUnsafe: () => void
  /** Sets whether messages are being handled. If so, the caller flushes when they are done. */
  readonly handlingUnsafe: (isHandling: boolean) => void
  /** Holds what is sent until the next flush, however many messages that are, since they belong together. */
  readonly holdUnsafe: () => void
  /** From now on every message has a write, and a turn of the event loop, of its own. */
  readonly separateUnsafe: () => void
  /** Sets the limit of the queue, in bytes. */
  readonly limitUnsafe: (limit: number) => void
  /** Flushes the queue and ends the connection. Nothing more is sent. */
  readonly endUnsafe: () => void
}

/** How many messages or characters are flushed immediately: the peer reads them while the next ones are written. */
const enough = 32
const enoughUnits = 65_536

/** The overhead of a queued message beside its text, in bytes. */
const overhead = 256

/** The options of an outbound queue. */
export interface Options {
  readonly socket: Socket
  readonly encode: (sendings: ReadonlyArray<Sending>) => Uint8Array
  /** In bytes; an empty queue accepts a message of any size. */
  readonly limit: number
  /** Called with a defect of a `settled` callback. */
  readonly onDefect: (defect: unknown) => void
}

/** Makes the outbound queue of a socket. */
export const make = (options: Options): Writer => {
  const { socket } = options
  const unsettled = makeUnsettled(options)
  const eager = Eager.make()
  let waiting: Array<Sending> = []
  let units = 0
  let most = enough
  let isHandling = false
  let isSeparate = false
  let isEnded = false
  let limit = options.limit

  const flushUnsafe = () => {
    most = enough
    if (waiting.length === 0) return
    if (isSeparate && !isEnded) return writeNext()
    const sendings = waiting
    const estimate = units
    waiting = []
    units = 0
    unsettled.write(sendings, estimate)
  }
  const writeNext = () => {
    const [next] = waiting.splice(0, 1)
    const estimate = estimateOf(next!)
    units -= estimate
    unsettled.write([next!], estimate)
    if (waiting.length > 0) end.schedule()
  }
  const end = makeEnd(flushUnsafe)

  return {
    sendUnsafe: (sending) => {
      const estimate = estimateOf(sending)
      if (isEnded || !socket.writable || !unsettled.add(estimate, limit)) {
        sending.settled?.(false)
        return false
      }
      units += estimate
      const length = waiting.push(sending)
      const isAlone = eager.countUnsafe()
      if (!isSeparate && (length >= most || units > enoughUnits + overhead * length)) {
        const next = most * 2
        flushUnsafe()
        most = next
      } else if (isAlone && most === enough && !isSeparate) flushUnsafe()
      else if (length === 1 && !isHandling) end.schedule()
      return true
    },
    flushUnsafe: () => {
      if (!isSeparate || !end.isScheduled()) flushUnsafe()
    },
    handlingUnsafe: (value) => {
      isHandling = value
      if (!value && waiting.length > 0) end.schedule()
    },
    holdUnsafe: () => void (most = Infinity),
    separateUnsafe: () => void (isSeparate = true),
    limitUnsafe: (value) => void (limit = value),
    endUnsafe: () => {
      if (isEnded) return
      isEnded = true
      flushUnsafe()
      socket.end()
    }
  }
}

// The end of the turn, at which a task is run once, however often it is wanted.
const makeEnd = (task: () => void) => {
  let isScheduled = false
  return {
    isScheduled: () => isScheduled,
    schedule: () => {
      if (isScheduled) return
      isScheduled = true
      setImmediate(() => {
        isScheduled = false
        task()
      })
    }
  }
}

// The bytes of messages that are not settled, with their overhead.
const makeUnsettled = ({ encode, onDefect, socket }: Options) => {
  let size = 0
  return {
    /** Adds a message, unless that would exceed the limit. */
    add: (estimate: number, limit: number): boolean => {
      if (size > 0 && size + estimate > limit) return false
      size += estimate
      return true
    },
    /** Writes messages that were added. */
    write: (sendings: ReadonlyArray<Sending>, estimate: number): void => {
      const bytes = encode(sendings)
      const actual = Math.max(estimate, bytes.length + overhead * sendings.length)
      size += actual - estimate
      socket.write(bytes, (error) => {
        size -= actual
        settle(sendings, error == null, onDefect)
      })
    }
  }
}

// A code unit has one to three bytes, mostly one. The exact size is known when the message is written.
const estimateOf = ({ envelope, frames, prefix }: Sending): number => {
  let units = overhead + envelope.length
  for (const frame of frames) units += frame.length
  if (prefix !== undefined) { for (const frame of prefix) units += frame.length }
  return units
}

// If a callback throws, the others are still called.
const settle = (
  sendings: ReadonlyArray<Sending>,
  delivered: boolean,
  onDefect: (defect: unknown) => void
): void => {
  let index = 0
  while (index < sendings.length) {
    const called = Result.try(() => {
      while (index < sendings.length) sendings[index++]!.settled?.(delivered)
    })
    Result.match(called, { onFailure: onDefect, onSuccess: constVoid })
  }
}
