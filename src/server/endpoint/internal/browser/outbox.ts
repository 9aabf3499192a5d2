/**
 * The outbound queues of browsers: what is sent to a browser in one turn of the event loop is one write, and what waits
 * for a browser that does not read is bounded by what it costs.
 *
 * A frame is made once and shared by all queues. Queues whose content is the same, those of the subscribers of one
 * channel, share the joined bytes of a write, too. Small frames that wait are joined, so that they cost little more than
 * their bytes. A queue never counts as one that is not read while the system takes what is written: a browser with
 * nothing waiting can be sent a message of any size.
 */

import type { Socket } from "node:net"
import * as Frame from "./frame.ts"

/** What waits for one browser. Belongs to the `Outboxes` that made it. */
export interface Outbox {
  readonly socket: Socket
  /** Called when the browser does not read what waits for it, and has to be disconnected. */
  readonly onSlow: () => void
  frames: Array<Frame.Frame>
  /** How many of the first frames are not joined any further. */
  joined: number
  /** The bytes of `frames`. */
  size: number
  /** Whether it is flushed at the end of the turn. */
  isScheduled: boolean
  /** Whether the system did not take the last write, and what waits counts as waiting. */
  isBlocked: boolean
  /** The last write of a blocked queue. Until the system has taken it nothing more is written. */
  blockedBy: Frame.Frame | undefined
  /** Nothing more is sent. */
  isClosed: boolean
}

/** The outbound queues of one endpoint. */
export interface Outboxes {
  /** A queue for this connection; `onSlow` is called at most once. */
  readonly make: (socket: Socket, onSlow: () => void) => Outbox
  /** Sends a text message. Never waits. */
  readonly send: (outbox: Outbox, message: string) => void
  /** Sends a frame. Never waits. */
  readonly sendFrame: (outbox: Outbox, frame: Frame.Frame) => void
  /** Hands all that waits to the connection now, as its last words; later messages are dropped. */
  readonly close: (outbox: Outbox) => void
  /** The connection has ended: nothing waits any more. */
  readonly release: (outbox: Outbox) => void
  /** How many bytes of memory wait for browsers that do not read, shared bytes once. */
  readonly waiting: () => number
}

/** The limits, in bytes of memory. */
export interface Limits {
  /** For one browser, beside one write. */
  readonly outboxSize: number
  /** For all browsers together. Beyond it the browser that has not read for longest is disconnected. */
  readonly totalOutboxSize: number
}

/** What a frame in memory costs beside its bytes: an array buffer, its view, this object and a place in a queue. */
const overhead = 320

/** How many frames that wait become one, if they are small. */
const joinCount = 64
const joinSize = 16_384

/** How many bytes are one write, unless a message alone has more. */
const writeSize = 65_536

/** How long a flush goes on in one turn, in milliseconds. */
const slice = 8

/** Makes the outbound queues of one endpoint. */
export const make = (limits: Limits): Outboxes => {
  const waiting = makeWaiting()
  const shared = makeShared()
  const blocked = new Set<Outbox>()
  const { schedule } = makeFlusher((outbox) => flush(outbox), shared.clear)

  const flush = (outbox: Outbox): void => {
    const { socket } = outbox
    while (outbox.frames.length > 0 && outbox.blockedBy === undefined && !outbox.isClosed && socket.writable) {
      const frame = shared.join(take(outbox))
      schedule()
      if (socket.writableLength === 0) socket.write(frame.bytes)
      else block(outbox, frame)
    }
    if (outbox.isBlocked && outbox.frames.length === 0 && outbox.blockedBy === undefined) {
      outbox.isBlocked = false
      blocked.delete(outbox)
    }
  }
  // What stays in the queue counts as waiting as long as the queue is blocked.
  const take = (outbox: Outbox): ReadonlyArray<Frame.Frame> => {
    const { frames } = outbox
    const count = countToWrite(frames)
    const taken = count === frames.length ? frames : frames.splice(0, count)
    if (taken === frames) outbox.frames = []
    outbox.joined = Math.max(0, outbox.joined - count)
    for (const { bytes } of taken) outbox.size -= bytes.length
    if (outbox.isBlocked) taken.forEach(waiting.remove)
    return taken
  }
  const block = (outbox: Outbox, frame: Frame.Frame): void => {
    if (!outbox.isBlocked) {
      outbox.isBlocked = true
      outbox.frames.forEach(waiting.add)
      blocked.add(outbox)
    }
    waiting.add(frame)
    outbox.blockedBy = frame
    outbox.socket.write(frame.bytes, () => {
      if (outbox.blockedBy !== frame) return
      outbox.blockedBy = undefined
      waiting.remove(frame)
      flush(outbox)
    })
  }

  const sendFrame = (outbox: Outbox, frame: Frame.Frame): void => {
    if (outbox.isClosed || !outbox.socket.writable) return
    if (outbox.isBlocked) return wait(outbox, frame)
    outbox.frames.push(frame)
    outbox.size += frame.bytes.length
    if (!outbox.isScheduled) schedule(outbox)
    if (outbox.size > writeSize) flush(outbox)
  }
  const wait = (outbox: Outbox, frame: Frame.Frame): void => {
    if (outbox.size + outbox.frames.length * overhead > limits.outboxSize) return outbox.onSlow()
    outbox.frames.push(frame)
    outbox.size += frame.bytes.length
    waiting.add(frame)
    if (outbox.frames.length - outbox.joined >= joinCount) joinLast(outbox)
    if (waiting.size() > limits.totalOutboxSize) dropSlowest()
  }
  const joinLast = (outbox: Outbox): void => {
    const last = outbox.frames.slice(outbox.joined)
    if (sizeOf(last) > joinSize) outbox.joined = outbox.frames.length
    else {
      const frame = shared.join(last)
      schedule()
      outbox.frames.length = outbox.joined++
      outbox.frames.push(frame)
      waiting.add(frame)
      last.forEach(waiting.remove)
    }
  }
  // What waited for it is lost: with that much in memory there is no time to wait until it reads.
  const dropSlowest = (): void => {
    for (const outbox of blocked) {
      if (outbox.isClosed) continue
      outbox.frames.forEach(waiting.remove)
      outbox.frames = []
      outbox.size = 0
      return outbox.onSlow()
    }
  }

  return {
    make: (socket, onSlow) => ({
      socket,
      onSlow,
      frames: [],
      joined: 0,
      size: 0,
      isScheduled: false,
      isBlocked: false,
      blockedBy: undefined,
      isClosed: false
    }),
    send: (outbox, message) => {
      if (!outbox.isClosed && outbox.socket.writable) sendFrame(outbox, shared.text(message, schedule))
    },
    sendFrame,
    close: (outbox) => {
      if (outbox.isClosed) return
      outbox.isClosed = true
      for (const { bytes } of outbox.frames) outbox.socket.write(bytes)
      if (!outbox.isBlocked) outbox.frames = []
    },
    // What a closed connection has been handed is in memory until its end.
    release: (outbox) => {
      outbox.isClosed = true
      if (outbox.isBlocked) outbox.frames.forEach(waiting.remove)
      outbox.isBlocked = false
      blocked.delete(outbox)
      if (outbox.blockedBy !== undefined) waiting.remove(outbox.blockedBy)
      outbox.blockedBy = undefined
      outbox.frames = []
    },
    waiting: waiting.size
  }
}

const countToWrite = (frames: ReadonlyArray<Frame.Frame>): number => {
  let count = 1
  let size = frames[0]!.bytes.length
  while (count < frames.length && (size += frames[count]!.bytes.length) <= writeSize) count++
  return count
}

const sizeOf = (frames: ReadonlyArray<Frame.Frame>): number => {
  let size = 0
  for (const { bytes } of frames) size += bytes.length
  return size
}

// Counts the memory of frames that wait, each once, however many queues it waits in.
const makeWaiting = () => {
  let size = 0
  return {
    size: () => size,
    add: (frame: Frame.Frame): void => {
      if (frame.waiting++ === 0) size += frame.bytes.length + overhead
    },
    remove: (frame: Frame.Frame): void => {
      if (--frame.waiting === 0) size -= frame.bytes.length + overhead
    }
  }
}

// What one browser is sent, the next is most likely sent, too: the last message and the last write, for this turn.
const makeShared = () => {
  let message = ""
  let frame: Frame.Frame | undefined
  let parts: ReadonlyArray<Frame.Frame> = []
  let joined: Frame.Frame | undefined
  return {
    text: (text: string, onNew: () => void): Frame.Frame => {
      if (frame !== undefined && text === message) return frame
      onNew()
      message = text
      return frame = Frame.text(text)
    },
    join: (frames: ReadonlyArray<Frame.Frame>): Frame.Frame => {
      if (frames.length === 1) return frames[0]!
      if (joined !== undefined && isSame(frames, parts)) return joined
      parts = frames
      return joined = Frame.join(frames)
    },
    clear: () => {
      message = ""
      frame = joined = undefined
      parts = []
    }
  }
}

const isSame = (some: ReadonlyArray<Frame.Frame>, others: ReadonlyArray<Frame.Frame>): boolean => {
  if (some.length !== others.length) return false
  for (let index = 0; index < some.length; index++) if (some[index] !== others[index]) return false
  return true
}

// Flushes at the end of the turn, and goes on in the next one if there is much to do.
const makeFlusher = (flush: (outbox: Outbox) => void, onEnd: () => void) => {
  const outboxes: Array<Outbox> = []
  let next = 0
  let isScheduled = false
  const run = (): void => {
    const end = performance.now() + slice
    while (next < outboxes.length) {
      const outbox = outboxes[next++]!
      outbox.isScheduled = false
      flush(outbox)
      if (next % 8 === 0 && performance.now() > end) return void setImmediate(run)
    }
    outboxes.length = next = 0
    isScheduled = false
    onEnd()
  }
  const schedule = (outbox?: Outbox): void => {
    if (outbox !== undefined) {
      outbox.isScheduled = true
      outboxes.push(outbox)
    }
    if (isScheduled) return
    isScheduled = true
    setImmediate(run)
  }
  return { schedule }
}
