/**
 * One connection of a backend, from its acceptance to its end.
 *
 * The first byte tells the protocol: ZeroMQ or classic TCP. Messages are handled one by one when they are read. While one of
 * them is not done, or the turn is over, nothing more is read. At the end queued messages are flushed, within a second.
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Socket } from "node:net"
import type { Frames } from "../../protocol/Frame.ts"
import * as EventLoop from "../EventLoop.ts"
import type { Handlers, Peer } from "../TransportServer.ts"
import * as Classic from "./classic.ts"
import type { Link, Protocol, Step } from "./link.ts"
import type { WarnUnsafe } from "./warnings.ts"
import * as Writer from "./writer.ts"
import * as Zmtp from "./zmtp.ts"
import * as ZmtpSession from "./zmtpSession.ts"

/** How long a closed connection has to read the last messages, in milliseconds, and how many bytes it may still send. */
const lingerTime = 1000
const lingerSize = 1_048_576

/** How many bytes may be queued for a connection that is not authorized. */
const strangersOutbox = 65_536

/** What a connection needs of its server. */
export interface Host {
  readonly handlers: Handlers
  readonly maxMessageSize: number
  readonly outboxSize: number
  /** Runs an effect for as long as the server runs. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly warnUnsafe: WarnUnsafe
  /** A connection is established: its deadline no longer applies. */
  readonly onEstablished: (connection: BackendConnection) => void
  /** Assigns an identity to a connection, and returns the one that had it until now. */
  readonly takeOver: (identity: string, connection: BackendConnection) => BackendConnection | undefined
  /** A connection has ended, and its file descriptor is free. */
  readonly onEnd: (connection: BackendConnection, identity: string | undefined) => void
}

/** A connection as its server sees it. */
export interface BackendConnection {
  /** Flushes and closes the connection. */
  readonly closeUnsafe: () => void
  /** Ends the connection immediately. */
  readonly destroyUnsafe: () => void
}

/** Serves a connection that was accepted. */
export const serve = (socket: Socket, host: Host): BackendConnection => {
  let protocol: Protocol | undefined
  let isClosing = false
  let isGone = false
  let discarded = 0
  let linger: ReturnType<typeof setTimeout> | undefined
  // Who was asked whether it may go on, and is told once that it has ended.
  let authorized: Peer | undefined
  let identity: string | undefined

  const onDefect = (defect: unknown) => {
    host.fork(Effect.logError("A backend's connection has failed", defect))
    socket.destroy()
  }
  const leave = () => {
    const peer = authorized
    authorized = undefined
    if (peer !== undefined) host.fork(host.handlers.onClose(peer))
  }
  const closeUnsafe = () => {
    if (isClosing) return
    isClosing = true
    leave()
    writer.endUnsafe()
    linger = setTimeout(() => socket.destroy(), lingerTime)
    // What it still says is not read, but has to be taken: with unread input the last words would be lost.
    if (!isGone) socket.resume()
  }
  const writer = Writer.make({
    socket,
    limit: strangersOutbox,
    encode: (sendings) => encode(sendings),
    onDefect
  })
  let encode = Classic.encode
  const link: Link = {
    handlers: host.handlers,
    maxMessageSize: host.maxMessageSize,
    writer,
    writeUnsafe: (bytes) => {
      if (socket.writable && socket.writableLength < strangersOutbox) socket.write(bytes)
    },
    authorize: (peer) => {
      authorized = peer
      identity = peer.identity
      return Effect.map(host.handlers.authorize?.(peer) ?? Effect.succeed(undefined), (frames: Frames | undefined) => {
        if (frames === undefined) writer.limitUnsafe(host.outboxSize)
        return frames
      })
    },
    establishedUnsafe: () => host.onEstablished(self),
    takeOverUnsafe: (identity) => host.takeOver(identity, self)?.destroyUnsafe(),
    closeUnsafe,
    close: Effect.sync(closeUnsafe),
    warnUnsafe: host.warnUnsafe
  }

  const reader = makeReader({
    socket,
    writer,
    step: () => isClosing ? "needs more" : protocol!.step(),
    fork: host.fork,
    onDefect,
    onRest: () => isGone && leave()
  })
  const onData = (chunk: Buffer): void => {
    if (isClosing) {
      discarded += chunk.length
      if (discarded > lingerSize) socket.destroy()
      return
    }
    if (protocol === undefined) {
      const isZmtp = chunk[0] === Zmtp.signature
      if (isZmtp) encode = ZmtpSession.encode(host.maxMessageSize)
      protocol = isZmtp ? ZmtpSession.make(link) : Classic.make(link)
    }
    protocol.feed(chunk)
    reader.readUnsafe()
  }

  const self: BackendConnection = { closeUnsafe, destroyUnsafe: () => void socket.destroy() }
  socket.on("data", onData)
  socket.on("end", closeUnsafe)
  // What went wrong is followed by the end.
  socket.on("error", () => undefined)
  socket.on("close", () => {
    isGone = true
    clearTimeout(linger)
    if (!reader.isBusy()) leave()
    host.onEnd(self, identity)
  })
  return self
}

// Handles the messages that were fed, one after the other, and pauses the socket while one is not done or the turn is over.
const makeReader = (options: {
  readonly socket: Socket
  readonly writer: Writer.Writer
  readonly step: () => Step
  readonly fork: Host["fork"]
  readonly onDefect: (defect: unknown) => void
  /** Called when the reader was busy and is idle again. */
  readonly onRest: () => void
}) => {
  const { fork, onDefect, socket, step, writer } = options
  let isBusy = false

  const wait = (): void => {
    isBusy = true
    socket.pause()
  }
  const goOn = (): void => {
    isBusy = false
    read()
    if (isBusy) return
    options.onRest()
    if (!socket.destroyed) socket.resume()
  }
  const onExit = (exit: Exit.Exit<void>): void => {
    if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) onDefect(exit.cause)
  }
  // Returns whether there is nothing more to do for now.
  const readNext = (): boolean => {
    if (EventLoop.isOver()) {
      wait()
      EventLoop.enqueue(goOn)
      return true
    }
    const next = step()
    if (next === "needs more" || next === "done") return next === "needs more"
    const fiber = fork(next)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) {
      onExit(exit)
      return false
    }
    wait()
    fiber.addObserver((exit) => {
      onExit(exit)
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
    /** Handles what was fed, now or when the reader is no longer busy. */
    readUnsafe: () => {
      if (!isBusy) read()
    },
    isBusy: () => isBusy
  }
}
