/**
 * What is sent on one connection: bounded in bytes, in order, many messages in one write.
 *
 * What is sent while messages are handled leaves when they are, and what is sent at another time at the end of the turn;
 * neither waits for more than a few dozen messages. Everybody hears exactly once whether a message was handed to the
 * system.
 */

import { constVoid } from "effect/Function"
import * as Result from "effect/Result"
import type { Socket } from "node:net"
import type { Frames } from "../../protocol/Frame.ts"

/** A message that is to be sent, and who hears whether it was. */
export interface Sending {
  /** The frames before the delimiter of a message that is sent by itself; absent in one that has an `envelope` of text. */
  readonly prefix: ReadonlyArray<string | Uint8Array> | undefined
  readonly envelope: string
  readonly frames: Frames
  readonly settled: ((delivered: boolean) => void) | undefined
}

/** The outbound queue of one connection. */
export interface Writer {
  /** Sends a message. `false`, also to `settled`, if the connection has ended or too much waits; nothing of it is sent then. */
  readonly sendUnsafe: (sending: Sending) => boolean
  /** Sends what waits. */
  readonly flushUnsafe: () => void
  /** Messages are being handled, and `flushUnsafe` is called when they are; or not any more. */
  readonly handlingUnsafe: (isHandling: boolean) => void
  /** From now on every message has a write, and a turn of the event loop, of its own. */
  readonly separateUnsafe: () => void
  /** How many bytes may wait from now on. */
  readonly limitUnsafe: (limit: number) => void
  /** Nothing more is sent; what waits leaves first. */
  readonly endUnsafe: () => void
}

/** How many messages, or characters, do not wait for more: the other side already reads these while the next are written. */
const enough = 32
const enoughUnits = 65_536

/** What a message that waits costs beside its text, in bytes. */
const cost = 256

/** Makes the outbound queue of a socket. `limit` is in bytes; a single message is always taken where nothing waits. */
export const make = (options: {
  readonly socket: Socket
  readonly encode: (sendings: ReadonlyArray<Sending>) => Uint8Array
  readonly limit: number
  /** Hears of a defect of somebody who was told. */
  readonly onDefect: (defect: unknown) => void
}): Writer => {
  const { encode, socket } = options
  let waiting: Array<Sending> = []
  let units = 0
  // What is not settled, with its cost.
  let size = 0
  let most = enough
  let isHandling = false
  let isScheduled = false
  let isSeparate = false
  let isEnded = false
  let limit = options.limit

  const write = (sendings: ReadonlyArray<Sending>, estimate: number) => {
    const bytes = encode(sendings)
    const actual = Math.max(estimate, bytes.length + cost * sendings.length)
    size += actual - estimate
    socket.write(bytes, (error) => {
      size -= actual
      settle(sendings, error == null, options.onDefect)
    })
  }
  const flushUnsafe = () => {
    most = enough
    if (waiting.length === 0) return
    if (isSeparate && !isEnded) return writeNext()
    const sendings = waiting
    const estimate = units
    waiting = []
    units = 0
    write(sendings, estimate)
  }
  const writeNext = () => {
    const [next] = waiting.splice(0, 1)
    const estimate = estimateOf(next!)
    units -= estimate
    write([next!], estimate)
    if (waiting.length > 0) schedule()
  }
  const schedule = () => {
    if (isScheduled) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      flushUnsafe()
    })
  }

  return {
    sendUnsafe: (sending) => {
      const estimate = estimateOf(sending)
      if (isEnded || !socket.writable || size > 0 && size + estimate > limit) {
        sending.settled?.(false)
        return false
      }
      size += estimate
      units += estimate
      const length = waiting.push(sending)
      if (!isSeparate && (length >= most || units > enoughUnits + cost * length)) {
        const next = most * 2
        flushUnsafe()
        most = next
      } else if (length === 1 && !isHandling) schedule()
      return true
    },
    flushUnsafe: () => {
      if (!isSeparate || !isScheduled) flushUnsafe()
    },
    handlingUnsafe: (value) => {
      isHandling = value
      if (!value && waiting.length > 0) schedule()
    },
    separateUnsafe: () => {
      isSeparate = true
    },
    limitUnsafe: (value) => {
      limit = value
    },
    endUnsafe: () => {
      if (isEnded) return
      isEnded = true
      flushUnsafe()
      socket.end()
    }
  }
}

// A code unit has at most three bytes, but mostly one; what it really is is known when it is written.
const estimateOf = ({ envelope, frames, prefix }: Sending): number => {
  let units = cost + envelope.length
  for (const frame of frames) units += frame.length
  if (prefix !== undefined) { for (const frame of prefix) units += frame.length }
  return units
}

// One that fails does not keep the others from hearing.
const settle = (
  sendings: ReadonlyArray<Sending>,
  delivered: boolean,
  onDefect: (defect: unknown) => void
): void => {
  let index = 0
  while (index < sendings.length) {
    const told = Result.try(() => {
      while (index < sendings.length) sendings[index++]!.settled?.(delivered)
    })
    Result.match(told, { onFailure: onDefect, onSuccess: constVoid })
  }
}
