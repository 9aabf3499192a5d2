/**
 * One browser's connection: its messages are handled in their order, one at a time, and what it is told waits in a bounded
 * outbox.
 *
 * It has no fiber: most browsers say nothing most of the time, and what one says is handled in the step of the event loop
 * in which it comes. However much one says at once, the others have their turn.
 */

import type { WebSocket } from "@effect/platform-node/NodeWS"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Socket } from "node:net"
import type { Page } from "../../domain/Page.ts"
import type { Vhost } from "../../engine/Vhosts.ts"
import * as PageSession from "../PageSession.ts"
import * as WebSocketFrame from "./webSocketFrame.ts"

/** A browser that is connected. */
export interface Connection {
  readonly vhost: Vhost
  /** Tells the browser that it is there, so that nothing between takes the connection for dead. */
  readonly pingUnsafe: () => void
  /** Ends the session now, and the connection with this code; one that is being closed already goes on with that. */
  readonly leaveUnsafe: (code: number) => void
}

/** What all connections of an endpoint have in common. */
export interface Options {
  /** How many bytes may wait for a browser. */
  readonly outboxSize: number
  /** Hears of a browser that is disconnected since it does not read. */
  readonly onSlow: () => void
  /** Hears of every end of a connection, once. */
  readonly onEnd: (connection: Connection) => void
  readonly run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
}

/** How many messages of one browser are handled before the others have their turn. */
const turn = 64

/** How long a browser that is disconnected has to take what waits for it, and the reason. */
const lingerTimeout = "1 second"

/** Begins a browser's session on its connection, which is open. */
export const make = (vhost: Vhost, ws: WebSocket, socket: Socket, options: Options): Connection => {
  const { isClosing, page } = makePage(socket, options)
  const session = PageSession.make(vhost, page)
  let hasEnded = false
  const endUnsafe = () => {
    if (hasEnded) return
    hasEnded = true
    options.run(session.end)
    options.onEnd(connection)
  }
  const connection: Connection = {
    vhost,
    pingUnsafe: () => {
      if (socket.writable) socket.write(WebSocketFrame.ping)
    },
    leaveUnsafe: (code) => {
      endUnsafe()
      if (socket.writable) ws.close(code)
    }
  }
  // One that is being closed may still read for a moment, but not speak.
  const isDeaf = () => hasEnded || isClosing()
  const handle = (message: string | Uint8Array) => options.run(session.handle(message))
  const settle = (exit: Exit.Exit<boolean>) => {
    if (Exit.isFailure(exit)) options.run(Effect.logError("A browser's message was not handled", exit.cause))
    // (1011: an internal error.)
    if (Exit.isFailure(exit)) connection.leaveUnsafe(1011)
    else if (!exit.value) connection.leaveUnsafe(1000)
  }

  const whenHeard = listen(ws, handle, settle, isDeaf)
  // The ws package says itself to the browser what is wrong, and closes. What was said before counts.
  ws.on("error", () => whenHeard(endUnsafe))
  ws.on("close", () => whenHeard(endUnsafe))
  return connection
}

// Straight to the connection: the frame is ready, and the ws package would copy it for every subscriber.
const makePage = (socket: Socket, { onSlow, outboxSize, run }: Options) => {
  let isClosing = false
  const closeUnsafe = (code: number): void => {
    if (!socket.writable) return
    isClosing = true
    socket.end(WebSocketFrame.close(code))
    // It gets what waited and the reason if it reads now, and is cut off if it does not.
    run(Effect.andThen(
      Effect.timeoutOption(finished(socket), lingerTimeout),
      Effect.sync(() => socket.destroy())
    ))
  }
  const page: Page = {
    sid: SecureRandom.uuidV4Unsafe(),
    version: 0,
    sendUnsafe: (message) => {
      if (!socket.writable) return
      if (socket.writableLength <= outboxSize) {
        socket.write(WebSocketFrame.text(message))
      } else {
        onSlow()
        closeUnsafe(1013)
      }
    },
    closeUnsafe
  }
  return { page, isClosing: () => isClosing }
}

// While a message has not been handled, or the others have their turn, nothing is read, and what has been read waits. Gives
// a way to do something when nothing waits.
const listen = (
  ws: WebSocket,
  handle: (message: string | Uint8Array) => Fiber.Fiber<boolean>,
  settle: (exit: Exit.Exit<boolean>) => void,
  isDeaf: () => boolean
): (use: () => void) => void => {
  let waiting: Array<string | Uint8Array> | undefined
  let onHeard: (() => void) | undefined
  let handled = 0

  // Whether the next may be handled at once.
  const take = (message: string | Uint8Array): boolean => {
    if (isDeaf()) return true
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
      if (!take(messages[index]!)) {
        waiting = messages.slice(index + 1)
        return
      }
    }
    waiting = undefined
    ws.resume()
    onHeard?.()
  }
  ws.on("message", (data: Buffer, isBinary: boolean) => {
    const message = isBinary ? data : data.toString()
    if (waiting !== undefined) waiting.push(message)
    else if (!take(message)) {
      waiting = []
      ws.pause()
    }
  })
  return (use) => {
    if (waiting === undefined) use()
    else onHeard = use
  }
}

const finished = (socket: Socket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.writableFinished) return resume(Effect.void)
    socket.once("finish", () => resume(Effect.void))
  })
