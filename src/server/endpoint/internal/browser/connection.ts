/**
 * One browser's connection: its messages are handled in their order, one at a time, and what is sent to it waits in a
 * bounded queue.
 *
 * It has no fiber and no timer: most browsers send nothing most of the time, and what one sends is handled in the step of
 * the event loop that reads it. However much one sends at once, the others have their turn. What it may send beside
 * messages is limited, too: bytes of any kind, and pings and pongs.
 *
 * A connection that the broker ends goes on reading, and drops what it reads, until the browser has answered the close or
 * `closeTimeout` has passed: were it destroyed with unread input, the browser would never see the code.
 */

import type { WebSocket } from "@effect/platform-node/NodeWS"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Socket } from "node:net"
import type { Page } from "../../../domain/Page.ts"
import type { Vhost } from "../../../engine/Vhosts.ts"
import * as PageSession from "../../PageSession.ts"
import * as Bucket from "./bucket.ts"
import * as Frame from "./frame.ts"
import type { Outboxes } from "./outbox.ts"

/** A browser that has been let in, on an open connection. */
export interface Entered {
  readonly vhost: Vhost
  readonly version: 0 | 1
  readonly ws: WebSocket
  readonly socket: Socket
}

/** A browser that is connected. */
export interface Connection {
  readonly vhost: Vhost
  readonly isAuthenticated: () => boolean
  /** Whether nothing has been received since the last ping. `false` before the first one, and while nothing is read. */
  readonly isSilentUnsafe: () => boolean
  /** Pings the browser, past what waits for it. */
  readonly pingUnsafe: () => void
  /** Sends a close code and its reason, after what was sent; nothing is sent or handled any more. Its session ends soon. */
  readonly closeUnsafe: (code: number, reason?: string) => void
  /** Ends the session now: the browser leaves its channels. */
  readonly endUnsafe: () => void
  /** Destroys the connection now. */
  readonly destroyUnsafe: () => void
}

/** What all connections of an endpoint have in common. */
export interface Options {
  readonly outboxes: Outboxes
  /** How many bytes of any kind a browser may send in a second. */
  readonly byteRate: number
  /** Called when a browser is disconnected for one of these reasons. */
  readonly onDisconnect: (reason: "slow" | "flood") => void
  /** Runs an effect in a fiber, whose defect is logged. */
  readonly run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
}

/** How many milliseconds a browser that is disconnected has to read what waits for it and to answer the close. */
export const closeTimeout = 1000

/** How many messages of one browser are handled before the others have their turn. */
const turn = 64

/** How many pings and pongs a browser may send in a second, with bursts of five seconds' worth. Programs send few. */
const controlRate = 20

/** Begins a browser's session on its connection; `onClose` is called once, when that has ended. */
export const make = (entered: Entered, options: Options, onClose: () => void): Connection => {
  const { socket, vhost, ws } = entered
  const { onDisconnect, outboxes, run } = options
  let isClosing = false
  let hasEnded = false
  let readBeforePing: number | undefined

  const disconnect = (reason: "slow" | "flood", text: string) => {
    if (isClosing) return
    onDisconnect(reason)
    connection.closeUnsafe(1013, text)
  }
  const outbox = outboxes.make(socket, () => disconnect("slow", "the browser does not read what is sent to it"))
  const connection: Connection = {
    vhost,
    isAuthenticated: () => session.isAuthenticated(),
    isSilentUnsafe: () => socket.bytesRead === readBeforePing && !socket.isPaused() && !isClosing,
    pingUnsafe: () => {
      readBeforePing = socket.bytesRead
      if (socket.writable) socket.write(Frame.ping)
    },
    closeUnsafe: (code, reason) => {
      if (isClosing) return
      isClosing = true
      ws.close(code, reason)
      ws.resume()
      // Not now: whoever sends to a channel does not expect one of its subscribers to leave meanwhile.
      setImmediate(connection.endUnsafe)
    },
    endUnsafe: () => {
      if (hasEnded) return
      hasEnded = true
      run(session.end)
    },
    destroyUnsafe: () => socket.destroy()
  }
  const page: Page = {
    sid: SecureRandom.uuidV4Unsafe(),
    version: entered.version,
    sendUnsafe: (message) => outboxes.send(outbox, message),
    closeUnsafe: connection.closeUnsafe
  }
  const session = PageSession.make(vhost, page)

  // The ws package closes by itself, too, when it reads a close or what is no frame. What was sent goes first.
  const close = ws.close.bind(ws)
  ws.close = (code, reason) => {
    outboxes.close(outbox)
    close(code, reason)
  }
  // (1011: an internal error.)
  const settle = (exit: Exit.Exit<boolean>) => {
    if (Exit.isFailure(exit)) connection.closeUnsafe(1011)
    else if (!exit.value) connection.closeUnsafe(1000)
  }
  const whenHandled = handleMessages(ws, (message) => run(session.handle(message)), settle, () => isClosing || hasEnded)
  limitFrames(ws, socket, options.byteRate, {
    onPing: (payload) => outboxes.sendFrame(outbox, Frame.pong(payload)),
    onFlood: (what) => disconnect("flood", `the browser sends too many ${what}`)
  })
  // What was sent before it counts.
  ws.on("error", () => whenHandled(connection.endUnsafe))
  ws.on("close", () => {
    outboxes.release(outbox)
    onClose()
    whenHandled(connection.endUnsafe)
  })
  return connection
}

// While a message has not been handled, or the others have their turn, nothing is read, and what has been read waits. Gives
// a way to do something when nothing waits.
const handleMessages = (
  ws: WebSocket,
  handle: (message: string | Uint8Array) => Fiber.Fiber<boolean>,
  settle: (exit: Exit.Exit<boolean>) => void,
  isOver: () => boolean
): (use: () => void) => void => {
  let waiting: Array<string | Uint8Array> | undefined
  let onHandled: (() => void) | undefined
  let handled = 0

  // Whether the next may be handled at once.
  const handleNext = (message: string | Uint8Array): boolean => {
    if (isOver()) return true
    const fiber = handle(message)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) fiber.addObserver((exit) => (settle(exit), goOn()))
    else settle(exit)
    if (exit !== undefined && ++handled % turn === 0) setImmediate(goOn)
    return exit !== undefined && handled % turn !== 0
  }
  const goOn = () => {
    const messages = waiting ?? []
    for (let index = 0; index < messages.length; index++) {
      if (!handleNext(messages[index]!)) {
        waiting = messages.slice(index + 1)
        return
      }
    }
    waiting = undefined
    ws.resume()
    onHandled?.()
  }
  ws.on("message", (data: Buffer, isBinary: boolean) => {
    if (isOver()) return
    const message = isBinary ? data : data.toString()
    if (waiting !== undefined) waiting.push(message)
    else if (!handleNext(message)) {
      waiting = []
      ws.pause()
    }
  })
  return (use) => {
    if (waiting === undefined) use()
    else onHandled = use
  }
}

// Of what the rates of messages do not count: frames that are no message, and what frames cost beside their messages.
const limitFrames = (
  ws: WebSocket,
  socket: Socket,
  byteRate: number,
  { onFlood, onPing }: {
    readonly onFlood: (what: string) => void
    readonly onPing: (payload: Uint8Array) => void
  }
) => {
  const bytes = Bucket.make()
  const controls = Bucket.make()
  const mayControl = () => {
    const may = Bucket.take(controls, controlRate, 1)
    if (!may) onFlood("pings and pongs")
    return may
  }
  ws.on("ping", (payload: Buffer) => {
    if (mayControl()) onPing(payload)
  })
  ws.on("pong", mayControl)
  socket.on("data", ({ length }: Buffer) => {
    if (!Bucket.take(bytes, byteRate, length)) onFlood("bytes")
  })
}
