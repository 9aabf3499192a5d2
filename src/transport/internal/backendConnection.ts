/**
 * One connection of a backend, from its acceptance to its end.
 *
 * The first byte tells the protocol: ZeroMQ, classic TCP, or TLS with one of the two in it. Messages are handled one by one when they are read. While one of
 * them is not done, or the turn is over, at most one more chunk is read. At the end queued messages are flushed, within a second.
 */

import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import type { Socket } from "node:net"
import type { Frames } from "../../protocol/Frame.ts"
import type { CurveServer } from "../CurveServer.ts"
import { type Decrypt, firstByte } from "../TlsServer.ts"
import type { Handlers, Peer } from "../TransportServer.ts"
import * as Classic from "./classic.ts"
import type { Link, Protocol } from "./link.ts"
import * as Reader from "./reader.ts"
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
  readonly decrypt?: Decrypt | undefined
  readonly curve?: CurveServer | undefined
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

interface Detected {
  readonly protocol: Protocol
  readonly encode: Encode
}

type Encode = (sendings: ReadonlyArray<Writer.Sending>) => Uint8Array

const detect = (chunk: Buffer, link: Link, { curve }: Host): Detected => {
  if (chunk[0] !== Zmtp.signature) return { protocol: Classic.make(link), encode: Classic.encode }
  const session = ZmtpSession.make(link, curve)
  return { protocol: session, encode: session.encode }
}

/** Serves a connection that was accepted. */
export const serve = (socket: Socket, host: Host): BackendConnection => {
  const { decrypt } = host
  const destroyUnsafe = () => void socket.destroy()
  const connection: Ends = { closeUnsafe: destroyUnsafe, destroyUnsafe }
  if (decrypt === undefined) serveOn(socket, host, connection)
  else serveDecrypted(socket, host, connection, decrypt)
  return connection
}

/** How a connection ends, which depends on the protocol. */
type Ends = { -readonly [Key in keyof BackendConnection]: BackendConnection[Key] }

// If nothing arrives, nothing is ever served.
const serveDecrypted = (socket: Socket, host: Host, connection: Ends, decrypt: Decrypt): void => {
  const onClose = () => host.onEnd(connection, undefined)
  const serveIt = (served: Socket) => {
    socket.off("close", onClose)
    serveOn(served, host, connection)
  }
  // An error is followed by the end.
  socket.on("error", constVoid)
  socket.on("close", onClose)
  socket.once("data", (chunk) => {
    socket.pause()
    socket.unshift(chunk)
    if (chunk[0] === firstByte) return decrypt(socket, serveIt)
    serveIt(socket)
    socket.resume()
  })
}

const makeOnDefect = (socket: Socket, host: Host) => (defect: unknown): void => {
  host.fork(Effect.logError("A backend's connection has failed", defect))
  socket.destroy()
}

const serveOn = (socket: Socket, host: Host, self: Ends): void => {
  let detected: Detected | undefined
  let discarded = 0
  const onDefect = makeOnDefect(socket, host)
  const encode: Encode = (sendings) => (detected?.encode ?? Classic.encode)(sendings)
  const writer = Writer.make({ socket, limit: strangersOutbox, encode, onDefect })
  const authorized = makeAuthorized(host, writer)
  const ending = makeEnding(socket, writer, authorized.leave)
  self.closeUnsafe = ending.closeUnsafe
  self.destroyUnsafe = () => void socket.destroy()
  const link = makeLink({ self, socket, host, writer, authorize: authorized.authorize })
  const reader = Reader.make({
    socket,
    writer,
    step: () => ending.isClosing() ? "needs more" : detected!.protocol.step(),
    isStranger: authorized.isStranger,
    fork: host.fork,
    onDefect,
    onRest: ending.restedUnsafe
  })

  socket.on("data", (chunk) => {
    if (ending.isClosing()) {
      discarded += chunk.length
      if (discarded > lingerSize) socket.destroy()
      return
    }
    const { protocol } = detected ??= detect(chunk, link, host)
    protocol.feed(chunk)
    reader.readUnsafe()
  })
  socket.on("end", () => ending.endedUnsafe(reader.isBusy()))
  // An error is followed by the end.
  socket.on("error", constVoid)
  socket.on("close", () => {
    ending.goneUnsafe()
    if (!reader.isBusy()) authorized.leave()
    host.onEnd(self, authorized.identity())
  })
}

// The peer that the handlers authorize. `onClose` is called once when it has ended.
const makeAuthorized = (host: Host, writer: Writer.Writer) => {
  let peer: Peer | undefined
  let identity: string | undefined
  let isStranger = true
  return {
    identity: () => identity,
    isStranger: () => isStranger,
    authorize: (candidate: Peer): Effect.Effect<Frames | undefined> => {
      peer = candidate
      identity = candidate.identity
      return Effect.map(
        host.handlers.authorize?.(candidate) ?? Effect.succeed(undefined),
        (frames: Frames | undefined) => {
          isStranger = frames !== undefined
          if (!isStranger) writer.limitUnsafe(host.outboxSize)
          return frames
        }
      )
    },
    leave: (): void => {
      const left = peer
      peer = undefined
      if (left !== undefined) host.fork(host.handlers.onClose(left))
    }
  }
}

// The end of a connection: queued messages are flushed, and the peer has a moment to read them.
const makeEnding = (socket: Socket, writer: Writer.Writer, onClosing: () => void) => {
  let isClosing = false
  let isGone = false
  let hasEnded = false
  let linger: ReturnType<typeof setTimeout> | undefined
  const closeUnsafe = (): void => {
    if (isClosing) return
    isClosing = true
    onClosing()
    writer.endUnsafe()
    linger = setTimeout(() => socket.destroy(), lingerTime)
    // What the peer still sends is discarded: with unread input the last messages to it would be lost.
    if (!isGone) socket.resume()
  }
  return {
    isClosing: () => isClosing,
    closeUnsafe,
    /** The peer sends no more. If its last messages are being handled, the connection closes later. */
    endedUnsafe: (isBusy: boolean): void => {
      hasEnded = true
      if (!isBusy) closeUnsafe()
    },
    /** All messages that were read are handled. */
    restedUnsafe: (): void => {
      if (isGone) onClosing()
      else if (hasEnded) closeUnsafe()
    },
    goneUnsafe: (): void => {
      isGone = true
      clearTimeout(linger)
    }
  }
}

const makeLink = ({ authorize, host, self, socket, writer }: {
  readonly self: BackendConnection
  readonly socket: Socket
  readonly host: Host
  readonly writer: Writer.Writer
  readonly authorize: Link["authorize"]
}): Link => ({
  handlers: host.handlers,
  maxMessageSize: host.maxMessageSize,
  writer,
  writeUnsafe: (bytes) => {
    if (socket.writable && socket.writableLength < strangersOutbox) socket.write(bytes)
  },
  authorize,
  establishedUnsafe: () => host.onEstablished(self),
  takeOverUnsafe: (identity) => host.takeOver(identity, self)?.destroyUnsafe(),
  closeUnsafe: self.closeUnsafe,
  close: Effect.sync(self.closeUnsafe),
  warnUnsafe: host.warnUnsafe
})
