/**
 * One browser's connection: its messages are handled in order, one at a time, and messages to it are in a bounded queue.
 *
 * It has no fiber and no timer, because most browsers send nothing most of the time: a message is handled in the step of the
 * event loop that reads it. A browser that sends many messages at once yields to the others. Bytes of any kind, pings and
 * pongs are rate limited, too.
 *
 * A connection that the broker closes is read on, without handling the input, until the browser has answered the close or
 * `closeTimeout` has passed: if it were destroyed with unread input, the browser would not receive the close code.
 */

import { WebSocket } from "@effect/platform-node/NodeWS"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Socket } from "node:net"
import * as EventLoop from "../../../../transport/EventLoop.ts"
import type { Browser } from "../../../domain/Browser.ts"
import type { Vhost } from "../../../engine/Vhosts.ts"
import * as BrowserSession from "../../BrowserSession.ts"
import * as TokenBucket from "../tokenBucket.ts"
import type { Admitted } from "./admission.ts"
import * as Frame from "./frame.ts"
import * as Outbox from "./outbox.ts"

/** An admitted browser on an open connection. */
export interface Entered extends Admitted {
  readonly vhost: Vhost
  readonly version: 0 | 1
  readonly ws: WebSocket
  readonly socket: Socket
}

/** A connected browser. Its fields are private to this module; a record with functions takes less memory than closures. */
export interface Connection extends Entered {
  readonly options: Options
  readonly outbox: Outbox.Outbox
  readonly session: BrowserSession.BrowserSession
  readonly bytes: TokenBucket.Bucket
  readonly controls: TokenBucket.Bucket
  /** A close was sent: nothing more is sent or handled. */
  isClosing: boolean
  /** Whether it has ended so that the browser may come back a moment later. */
  mayReturn: boolean
  /** Its session has ended. */
  hasEnded: boolean
  /** How many bytes had been received at the last ping. */
  readBeforePing: number | undefined
  /** Messages that were read while another is being handled; meanwhile the socket is paused. */
  waiting: Array<string | Uint8Array> | undefined
  /** Called when all messages are handled. */
  onHandled: (() => void) | undefined
  handled: number
  /** The last turn of the event loop that was over when a message was read, and how many were handled then. */
  overTurn: number
  handledOver: number
  /** Since when it was last counted how much it sends, by `performance.now()`, and how many were handled until then. */
  countedAt: number
  handledBefore: number
}

/** The options of all connections of an endpoint. */
export interface Options {
  readonly outboxes: Outbox.Outboxes
  /** The node of a cluster, eight hexadecimal digits with which a `sid` begins, so that everybody sees where a browser is. */
  readonly node: string | undefined
  /** How many bytes of any kind a browser may send in a second. */
  readonly byteRate: TokenBucket.Rate
  /** Called when a browser is disconnected for one of these reasons. */
  readonly onDisconnect: (reason: "slow" | "flood") => void
  /** Called once for every connection, when it is closed. */
  readonly onClose: (connection: Connection) => void
  /** Runs an effect in a fiber, whose defect is logged. */
  readonly run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
}

/** How many milliseconds a browser has to read the last messages and to answer the close. */
export const closeTimeout = 1000

/** How many messages of one browser are handled before the others have their turn, unless that ends earlier by time. */
const turn = 64

/**
 * How many messages of one browser are handled if the turn is over: a browser that sends little does not wait for those that send much.
 * A browser that has sent `many` messages within `manyTime` milliseconds sends much: it waits for the next turn.
 */
const few = 4
const many = 100
const manyTime = 1000

/** The rate limit of a browser's pings and pongs, with bursts of five seconds. */
const controlRate: TokenBucket.Rate = { perSecond: 20, burst: 100 }

/** Starts a browser's session on its connection. */
export const make = (entered: Entered, options: Options): Connection => {
  const { address, socket, vhost } = entered
  const begun = performance.now()
  const onSlow = () => disconnect(connection, "slow", "the browser does not read what is sent to it")
  const outbox = Outbox.open(options.outboxes, socket, onSlow)
  const browser: Browser = {
    sid: options.node === undefined ? SecureRandom.uuidV4Unsafe() : options.node + SecureRandom.uuidV4Unsafe().slice(8),
    version: entered.version,
    sendUnsafe: (message, key) => Outbox.send(outbox, message, key),
    sendAllUnsafe: (messages) => Outbox.sendAll(outbox, messages),
    measureUnsafe: (lag, since) => Outbox.measure(outbox, lag, since),
    connectionUnsafe: () => ({ address, age: performance.now() - begun, queued: Outbox.queuedBytes(outbox) }),
    // The session itself closes with 1013 only a browser that sends too much.
    closeUnsafe: (code, reason = "") =>
      code === 1013 ? disconnect(connection, "flood", reason) : close(connection, code, reason)
  }
  const connection: Connection = {
    ...entered,
    options,
    outbox,
    session: BrowserSession.make(vhost, browser),
    bytes: TokenBucket.make(options.byteRate, begun),
    controls: TokenBucket.make(controlRate, begun),
    isClosing: false,
    mayReturn: false,
    hasEnded: false,
    readBeforePing: undefined,
    waiting: undefined,
    onHandled: undefined,
    handled: 0,
    overTurn: 0,
    handledOver: 0,
    countedAt: 0,
    handledBefore: 0
  }
  listen(connection)
  return connection
}

/** Whether nothing has been received since the last ping. `false` before the first one, and while nothing is read. */
export const isSilent = ({ isClosing, readBeforePing, socket }: Connection): boolean =>
  socket.bytesRead === readBeforePing && !socket.isPaused() && !isClosing

/** Pings the browser, ahead of its outbound queue; not before `:connected` was sent to it. */
export const ping = (connection: Connection): void => {
  const { outbox, readBeforePing, socket } = connection
  if (readBeforePing === undefined && outbox.isScheduled) return
  connection.readBeforePing = socket.bytesRead
  if (socket.writable) socket.write(Frame.ping)
}

/**
 * Flushes, and sends a close code with its reason. Nothing is sent or handled afterwards, and the session ends soon; if the browser
 * `mayReturn`, its user stays a member for a moment.
 */
export const close = (connection: Connection, code: number, reason?: string, mayReturn = false): void => {
  if (connection.isClosing) return
  connection.isClosing = true
  connection.mayReturn = mayReturn
  connection.ws.close(code, reason)
  connection.ws.resume()
  destroySoon(connection.socket)
  // Later, because this may be called within a broadcast, whose subscribers must not change.
  setImmediate(end, connection)
}

// The ws package has a deadline of its own, but not for a browser that ends its side and does not read.
const destroySoon = (socket: Socket): void => {
  if (!socket.destroyed) setTimeout(() => socket.destroy(), closeTimeout).unref()
}

/** Ends the session: the browser leaves its channels. */
const end = (connection: Connection): void => {
  if (connection.hasEnded) return
  connection.hasEnded = true
  connection.options.run(connection.session.end(connection.mayReturn))
}

const disconnect = (connection: Connection, reason: "slow" | "flood", text: string): void => {
  if (connection.isClosing) return
  connection.options.onDisconnect(reason)
  close(connection, 1013, text)
}

const listen = (connection: Connection): void => {
  const { options: { onClose }, outbox, socket, ws } = connection
  // The ws package also closes by itself, after a close frame or a malformed one. Our queue is flushed first.
  ws.close = (code, reason) => {
    Outbox.close(outbox)
    WebSocket.prototype.close.call(ws, code, reason)
  }
  ws.on("message", (data: Buffer, isBinary: boolean) => {
    if (!hasStopped(connection)) receive(connection, isBinary ? data : data.toString())
  })
  ws.on("ping", (payload: Buffer) => {
    if (mayControl(connection)) Outbox.sendFrame(outbox, Frame.pong(payload))
  })
  ws.on("pong", () => mayControl(connection))
  socket.on("data", ({ length }: Buffer) => countBytes(connection, length))
  socket.on("end", () => destroySoon(socket))
  ws.on("error", () => whenHandled(connection))
  ws.on("close", (code: number) => {
    Outbox.release(outbox)
    onClose(connection)
    // If the broker has closed it, its own reason counts.
    if (!connection.isClosing) connection.mayReturn = BrowserSession.mayReturn(code)
    whenHandled(connection)
  })
}

const hasStopped = ({ hasEnded, isClosing }: Connection): boolean => isClosing || hasEnded

const receive = (connection: Connection, message: string | Uint8Array): void => {
  if (connection.waiting !== undefined) connection.waiting.push(message)
  else if (mustWait(connection)) hold(connection, [message])
  else if (!handle(connection, message)) hold(connection, [])
}

const hold = (connection: Connection, waiting: Array<string | Uint8Array>): void => {
  connection.waiting = waiting
  connection.ws.pause()
}

// However little each message costs, those of hundreds of browsers together would make a turn much longer than it may be. Who has sent
// little has a turn before those who send much.
const mustWait = (connection: Connection): boolean => {
  EventLoop.begin()
  if (!EventLoop.isOver()) return false
  if (hasSentMany(connection)) resumeLast(connection)
  else if (EventLoop.isLate()) EventLoop.enqueue(() => resume(connection))
  else return false
  return true
}

const hasSentMany = (connection: Connection): boolean => {
  const now = performance.now()
  if (now - connection.countedAt >= manyTime) {
    connection.countedAt = now
    connection.handledBefore = connection.handled
  }
  return connection.handled - connection.handledBefore >= many
}

// After all others: each browser that sends much would keep backends waiting.
const resumeLast = (connection: Connection): void => EventLoop.enqueueLast(() => resume(connection))

// Whether the next message may be handled at once: within the turn, or within a share.
const handle = (connection: Connection, message: string | Uint8Array, share?: number): boolean => {
  if (hasStopped(connection)) return true
  EventLoop.begin()
  const fiber = connection.options.run(connection.session.handle(message))
  const exit = fiber.pollUnsafe()
  if (exit === undefined) {
    fiber.addObserver((exit) => {
      settle(connection, exit)
      resume(connection)
    })
    return false
  }
  settle(connection, exit)
  const isEnough = share === undefined ? isOver(connection) : EventLoop.isShareOver(share)
  if (++connection.handled % turn !== 0 && !isEnough) return true
  resumeLast(connection)
  return false
}

const isOver = (connection: Connection): boolean => {
  if (!EventLoop.isOver()) return false
  if (connection.overTurn !== EventLoop.current()) {
    connection.overTurn = EventLoop.current()
    connection.handledOver = 0
  }
  return ++connection.handledOver >= few
}

// (1011: an internal error.)
const settle = (connection: Connection, exit: Exit.Exit<boolean>): void => {
  if (Exit.isFailure(exit)) close(connection, 1011)
  else if (!exit.value) close(connection, 1000)
}

const resume = (connection: Connection): void => {
  const messages = connection.waiting ?? []
  const share = EventLoop.shareFromNow()
  for (let index = 0; index < messages.length; index++) {
    if (!handle(connection, messages[index]!, share)) {
      connection.waiting = messages.slice(index + 1)
      return
    }
  }
  connection.waiting = undefined
  connection.ws.resume()
  connection.onHandled?.()
}

// The browser has ended the connection. Messages that it sent before are still handled.
const whenHandled = (connection: Connection): void => {
  if (connection.waiting === undefined) end(connection)
  else connection.onHandled = () => end(connection)
}

// Limits what the message rates do not count: control frames, and the overhead of frames.
const mayControl = (connection: Connection): boolean => {
  const may = TokenBucket.take(connection.controls, controlRate, performance.now(), 1)
  if (!may) disconnect(connection, "flood", "the browser sends too many pings and pongs")
  return may
}

const countBytes = (connection: Connection, length: number): void => {
  if (TokenBucket.take(connection.bytes, connection.options.byteRate, performance.now(), length)) return
  disconnect(connection, "flood", "the browser sends too many bytes")
}
