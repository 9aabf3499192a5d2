/**
 * The outbound queues of browsers: messages of one turn of the event loop are one write, but one that comes alone is written at once.
 * The queue of a browser that does not read is bounded in bytes of memory.
 *
 * A frame is made once and shared by all queues. Queues whose content is the same, those of the subscribers of one
 * channel, share the joined bytes of a write, too. Small queued frames are joined, so that they take little more than
 * their bytes. A queue never counts as one that is not read while the system takes what is written: a browser with
 * an empty queue can be sent a message of any size.
 */

import type { Socket } from "node:net"
import * as EventLoop from "../../../../transport/EventLoop.ts"
import type { Lag } from "../../../domain/Browser.ts"
import * as Flusher from "./flusher.ts"
import * as Frame from "./frame.ts"
import * as SharedFrames from "./sharedFrames.ts"
import * as SharedWrite from "./sharedWrite.ts"

/** The outbound queue of one browser. */
export interface Outbox {
  readonly outboxes: Outboxes
  readonly socket: Socket
  /** Called when the browser does not read and must be disconnected. */
  readonly onSlow: () => void
  /** What it was sent in this turn; nothing while it is blocked. */
  write: SharedWrite.SharedWrite | undefined
  /** What is left for later writes. */
  frames: Array<Frame.Frame>
  /** How many of the first frames are not joined any further. */
  joined: number
  /** The bytes of `write` and `frames`. */
  size: number
  /** Whether it is flushed at the end of the turn. */
  isScheduled: boolean
  /** Whether the system has not accepted the last write; then the queue counts towards the limits. */
  isBlocked: boolean
  /** The queued frames with a key, if the queue is blocked and has any. */
  keyed: Map<string, Frame.Frame> | undefined
  /** The last write of a blocked queue. Nothing more is written until the system has accepted it. */
  blockedBy: Frame.Frame | undefined
  /** Nothing more is sent. */
  isClosed: boolean
  /** What is measured until the queue is empty, if anything is, and since when by `performance.now()`. */
  lag: Lag | undefined
  since: number
}

/** The outbound queues of one endpoint. */
export interface Outboxes {
  readonly limits: Limits
  readonly frames: SharedFrames.SharedFrames
  readonly writes: SharedWrite.SharedWrites
  readonly flusher: Flusher.Flusher<Outbox>
  /** Those whose browsers do not read, the first for longest. */
  readonly blocked: Set<Outbox>
  /** The bytes of memory of all blocked queues, shared bytes counted once. */
  queued: number
}

/** The limits, in bytes of memory. */
export interface Limits {
  /** For one browser, beside one write. */
  readonly outboxSize: number
  /** For all browsers together. Beyond it the browser that was blocked for longest is disconnected. */
  readonly totalOutboxSize: number
}

/** The memory of a frame beside its bytes: an array buffer, its view, the frame and a slot in a queue. */
const overhead = 320

/** How many small queued frames are joined into one. */
const joinCount = 64
const joinSize = 16_384

/**
 * How many bytes are one write, unless a message alone has more. They are written at once if the turn has time, and
 * otherwise before anybody has another one.
 */
const writeSize = 65_536

/** How many bytes are written before more is queued, by whoever sends without having turns. */
const mostUnwritten = 16 * writeSize

/** The queues of one endpoint, none yet. */
export const make = (limits: Limits): Outboxes => {
  const frames = SharedFrames.make()
  const writes = SharedWrite.make()
  const onEnd = () => {
    frames.clear()
    writes.clear()
  }
  return { limits, frames, writes, flusher: Flusher.make(flush, onEnd), blocked: new Set(), queued: 0 }
}

/** A queue for this connection. */
export const open = (outboxes: Outboxes, socket: Socket, onSlow: () => void): Outbox => ({
  outboxes,
  socket,
  onSlow,
  write: undefined,
  frames: [],
  joined: 0,
  size: 0,
  isScheduled: false,
  isBlocked: false,
  keyed: undefined,
  blockedBy: undefined,
  isClosed: false,
  lag: undefined,
  since: 0
})

/**
 * Sends a text message. Never waits. In the queue of a browser that does not read it replaces an earlier message with the
 * same key.
 */
export const send = (outbox: Outbox, message: string, key?: string): void => {
  const { flusher, frames } = outbox.outboxes
  if (outbox.isClosed || !outbox.socket.writable) return
  const frame = frames.text(message, flusher.schedule)
  if (key !== undefined && outbox.isBlocked) replace(outbox, frame, key)
  else sendFrame(outbox, frame)
}

/** Sends many text messages, in frames that all browsers share that are sent the same array in this turn. Never waits. */
export const sendAll = (outbox: Outbox, messages: ReadonlyArray<string>): void => {
  const { flusher, frames } = outbox.outboxes
  if (messages.length === 0 || outbox.isClosed || !outbox.socket.writable) return
  for (const frame of frames.all(messages, writeSize, flusher.schedule)) sendFrame(outbox, frame)
}

/** How many bytes are queued, those included that the system has not accepted yet. */
export const queuedBytes = ({ size, socket }: Outbox): number => size + socket.writableLength

/** Adds to a lag how long it takes from `since`, by default now, until all is written; ignored while another one is measured. */
export const measure = (outbox: Outbox, lag: Lag, since?: number): void => {
  if (outbox.lag !== undefined || outbox.isClosed) return
  outbox.lag = lag
  outbox.since = since ?? performance.now()
  if (isEmpty(outbox)) endMeasure(outbox)
}

const isEmpty = ({ frames, write }: Outbox): boolean => write === undefined && frames.length === 0

const endMeasure = (outbox: Outbox): void => {
  outbox.lag?.addUnsafe(performance.now() - outbox.since)
  outbox.lag = undefined
}

/** Sends a frame. Never waits. */
export const sendFrame = (outbox: Outbox, frame: Frame.Frame): void => {
  if (outbox.isClosed || !outbox.socket.writable) return
  if (outbox.size > mostUnwritten && !outbox.isBlocked) flush(outbox)
  if (outbox.isBlocked) return enqueue(outbox, frame)
  const { flusher, writes } = outbox.outboxes
  outbox.write = writes.add(outbox.write, frame, flusher.schedule)
  outbox.size += frame.bytes.length
  if (flusher.countUnsafe() && !outbox.isScheduled) return flush(outbox)
  if (!outbox.isScheduled) flusher.schedule(outbox)
  if (outbox.size <= writeSize) return
  EventLoop.begin()
  if (EventLoop.isOver()) flusher.press()
  else flush(outbox)
}

/** Writes all queued messages now, as the last ones; later messages are dropped. */
export const close = (outbox: Outbox): void => {
  if (outbox.isClosed) return
  outbox.isClosed = true
  for (const { bytes } of framesOf(outbox)) outbox.socket.write(bytes)
  outbox.write = undefined
  // The bytes of a blocked connection stay in memory until it ends, so they still count.
  if (!outbox.isBlocked) outbox.frames = []
}

/** The connection has ended: frees the queue. */
export const release = (outbox: Outbox): void => {
  const { frames, isBlocked, outboxes } = outbox
  outbox.isClosed = true
  if (isBlocked) { for (const frame of frames) removeQueued(outboxes, frame) }
  if (outbox.blockedBy !== undefined) removeQueued(outboxes, outbox.blockedBy)
  outbox.isBlocked = false
  outbox.blockedBy = undefined
  outbox.write = undefined
  outbox.frames = []
  outbox.keyed = undefined
  outboxes.blocked.delete(outbox)
}

const flush = (outbox: Outbox): void => {
  const { outboxes, socket, write } = outbox
  if (write !== undefined) {
    outbox.write = undefined
    // Mostly the system has accepted all before it, and it is not too much for one.
    if (canWriteAll(outbox, write)) {
      outbox.size = 0
      socket.write(SharedWrite.join(write).bytes)
    } else outbox.frames = SharedWrite.framesOf(write)
  }
  while (outbox.frames.length > 0 && outbox.blockedBy === undefined && !outbox.isClosed && socket.writable) {
    const frame = outboxes.frames.join(take(outbox), outboxes.flusher.schedule)
    if (socket.writableLength === 0) socket.write(frame.bytes)
    else block(outbox, frame)
  }
  if (outbox.lag !== undefined && isEmpty(outbox)) endMeasure(outbox)
  if (outbox.isBlocked && outbox.frames.length === 0 && outbox.blockedBy === undefined) {
    outbox.isBlocked = false
    outboxes.blocked.delete(outbox)
  }
}

const canWriteAll = ({ isClosed, size, socket }: Outbox, { before }: SharedWrite.SharedWrite): boolean =>
  (before === undefined || size <= writeSize) && !isClosed && socket.writable && socket.writableLength === 0

// A browser has either of the two.
const framesOf = ({ frames, write }: Outbox): ReadonlyArray<Frame.Frame> =>
  write === undefined ? frames : SharedWrite.framesOf(write)

// Dequeues as much as fits into one write. The rest counts towards the limits as long as the queue is blocked.
const take = (outbox: Outbox): ReadonlyArray<Frame.Frame> => {
  const { frames, isBlocked, outboxes } = outbox
  const count = countToWrite(frames)
  const taken = count === frames.length ? frames : frames.splice(0, count)
  if (taken === frames) outbox.frames = []
  outbox.joined = Math.max(0, outbox.joined - count)
  forgetKeys(outbox, taken)
  for (const frame of taken) {
    outbox.size -= frame.bytes.length
    if (isBlocked) removeQueued(outboxes, frame)
  }
  return taken
}

const countToWrite = (frames: ReadonlyArray<Frame.Frame>): number => {
  let count = 1
  let size = frames[0]!.bytes.length
  while (count < frames.length && (size += frames[count]!.bytes.length) <= writeSize) count++
  return count
}

// The system has not accepted the previous write. The callback is called when it has accepted this one.
const block = (outbox: Outbox, frame: Frame.Frame): void => {
  const { outboxes, socket } = outbox
  if (!outbox.isBlocked) {
    outbox.isBlocked = true
    for (const queued of outbox.frames) addQueued(outboxes, queued)
    outboxes.blocked.add(outbox)
  }
  addQueued(outboxes, frame)
  outbox.blockedBy = frame
  socket.write(frame.bytes, () => {
    if (outbox.blockedBy !== frame) return
    outbox.blockedBy = undefined
    removeQueued(outboxes, frame)
    flush(outbox)
  })
}

const enqueue = (outbox: Outbox, frame: Frame.Frame): void => {
  const { outboxes } = outbox
  if (outbox.size + outbox.frames.length * overhead > outboxes.limits.outboxSize) return outbox.onSlow()
  outbox.frames.push(frame)
  outbox.size += frame.bytes.length
  addQueued(outboxes, frame)
  if (outbox.frames.length - outbox.joined >= joinCount) joinLast(outbox)
  if (outboxes.queued > outboxes.limits.totalOutboxSize) dropSlowest(outboxes)
}

// The new frame is the last one, as if the earlier one had never been sent.
const replace = (outbox: Outbox, frame: Frame.Frame, key: string): void => {
  const keyed = outbox.keyed ??= new Map()
  const earlier = keyed.get(key)
  if (earlier !== undefined) {
    const index = outbox.frames.lastIndexOf(earlier)
    outbox.frames.splice(index, 1)
    if (index < outbox.joined) outbox.joined--
    outbox.size -= earlier.bytes.length
    removeQueued(outbox.outboxes, earlier)
  }
  keyed.set(key, frame)
  enqueue(outbox, frame)
}

// Frames that leave the queue are no longer replaced.
const forgetKeys = (outbox: Outbox, taken: ReadonlyArray<Frame.Frame>): void => {
  const { keyed } = outbox
  if (keyed === undefined) return
  const left = new Set(taken)
  for (const [key, frame] of keyed) if (left.has(frame)) keyed.delete(key)
  if (keyed.size === 0) outbox.keyed = undefined
}

const joinLast = (outbox: Outbox): void => {
  const { outboxes } = outbox
  const last = outbox.frames.slice(outbox.joined)
  let size = 0
  for (const { bytes } of last) size += bytes.length
  // What may be replaced stays alone.
  if (size > joinSize || outbox.keyed !== undefined) outbox.joined = outbox.frames.length
  else {
    const frame = outboxes.frames.join(last, outboxes.flusher.schedule)
    outbox.frames.length = outbox.joined++
    outbox.frames.push(frame)
    addQueued(outboxes, frame)
    for (const frame of last) removeQueued(outboxes, frame)
  }
}

// Its queue is dropped: at the limit of memory the broker cannot wait until it reads.
const dropSlowest = (outboxes: Outboxes): void => {
  for (const outbox of outboxes.blocked) {
    if (outbox.isClosed) continue
    for (const frame of outbox.frames) removeQueued(outboxes, frame)
    outbox.frames = []
    outbox.keyed = undefined
    outbox.size = 0
    return outbox.onSlow()
  }
}

// A frame counts once, in however many queues it is.
const addQueued = (outboxes: Outboxes, frame: Frame.Frame): void => {
  if (frame.queued++ > 0) return
  Frame.retain(frame)
  outboxes.queued += frame.bytes.length + overhead
}

const removeQueued = (outboxes: Outboxes, frame: Frame.Frame): void => {
  if (--frame.queued === 0) outboxes.queued -= frame.bytes.length + overhead
}
