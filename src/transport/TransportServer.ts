/**
 * How a broker receives messages of backends: the contract that its backend endpoint knows, with drivers beside it.
 *
 * A transport server carries messages and does not know their meaning. It holds nothing of a connection before that is
 * authorized. It handles the messages of a connection one at a time, and stops reading meanwhile. The outbound queue of a
 * connection is bounded in bytes. Messages that are too large are answered with an error.
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { messageOf } from "../protocol/ErrorText.ts"
import type { Frames } from "../protocol/Frame.ts"
import * as TaggedError from "../protocol/TaggedError.ts"
import type { CurveServer } from "./CurveServer.ts"
import type { Decrypt } from "./TlsServer.ts"

/**
 * The sender of a message, to which responses are sent.
 *
 * @since 0.1.0
 */
export interface Peer {
  /** The identity that it sent. */
  readonly identity: string
  /** The public key that it has shown with CURVE, 64 hexadecimal digits; known when it is authorized. */
  readonly key?: string | undefined
  /** The same for all messages of one connection, and different for those of another. */
  readonly connection: unknown
  /**
   * The id of the message that this peer sent, if its side has message ids: they count up from 1 in base 36. Only
   * our own Clients and Workers have message ids. Empty for messages without a response.
   */
  readonly message?: string | undefined
  /**
   * Puts a message into the connection's outbound queue, with the envelope of the message that this peer sent. Never waits.
   * `settled` is called exactly once, immediately or later, with whether the system accepted the message. Returns and calls
   * `settled` with `false` if the connection has ended or its queue is full because the peer does not read; then nothing of
   * the message was sent.
   */
  readonly sendUnsafe: (frames: Frames, settled?: (delivered: boolean) => void) => boolean
  /**
   * From now on every message to this connection has a write of its own, for peers that discard messages that arrive
   * together. Does nothing in transports in which messages always arrive one by one.
   */
  readonly separateUnsafe: () => void
  /** Whether the peer's program notices that its connection was closed. If not, it must be sent `QT` first. */
  readonly seesClose: boolean
  /**
   * Ends the exchange: flushes and closes a connection that is for one request. A connection for more requests stays open.
   */
  readonly close: Effect.Effect<void>
  /** Flushes and closes the connection within a second, whatever it is for. */
  readonly disconnect: Effect.Effect<void>
}

/**
 * What a broker does with what it receives.
 *
 * @since 0.1.0
 */
export interface Handlers {
  /**
   * Authorizes a connection before its messages are read. `undefined` if it is authorized; otherwise the response to all its
   * messages until it is closed. By default every connection is authorized.
   */
  readonly authorize?: ((peer: Peer) => Effect.Effect<Frames | undefined>) | undefined
  /**
   * Handles a message, without identity and envelope. Messages of one connection are handled in order, one at a time.
   * `frames` is `undefined` if the message cannot be read. Synchronous work is done when this is called; the result is the
   * rest of the work, if any.
   */
  readonly onMessage: (peer: Peer, frames: Frames | undefined) => Effect.Effect<void> | undefined
  /** A connection that was authorized has ended. No more messages follow. */
  readonly onClose: (peer: Peer) => Effect.Effect<void>
}

/**
 * A bound server: it accepts connections, and handles them while `run` runs.
 *
 * @since 0.1.0
 */
export interface TransportServer {
  /** The port it is bound to. */
  readonly port: number
  /** Handles all connections until it is interrupted; then it flushes and closes them. */
  readonly run: (handlers: Handlers) => Effect.Effect<void>
}

/**
 * Binds a server. It is unbound with its scope.
 *
 * @since 0.1.0
 */
export type Listen = (options: {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** The largest message in bytes, the overhead of its frames included. */
  readonly maxMessageSize: number
  /** How many bytes may be queued for one connection, default 16 MiB. */
  readonly outboxSize?: number | undefined
  /** How many connections there may be, default 4096. Beyond it the oldest unauthorized one is closed. */
  readonly maxConnections?: number | undefined
  /** Makes the decrypted side of connections that begin with TLS. Without it they are closed. */
  readonly decrypt?: Decrypt | undefined
  /** The key with which ZeroMQ connections may be encrypted (CURVE). Without it those are refused. */
  readonly curve?: CurveServer | undefined
  /** How long the end of `run` may take at most, default 5 seconds. */
  readonly shutdownTimeout?: Duration.Duration | undefined
}) => Effect.Effect<TransportServer, ListenError, Scope.Scope>

/**
 * A server could not be bound: the port is in use, or this machine has no such address.
 *
 * @since 0.1.0
 */
export class ListenError extends TaggedError.make("kosmonaut/transport/TransportServer")<ListenError>()("ListenError", {
  /** For whom: `browsers`, `backends over ZeroMQ`, `backends over TCP`. */
  endpoint: Schema.String,
  host: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect()
}, ({ cause, endpoint, host, port }) => `Cannot listen on ${host}:${port} for ${endpoint}: ${explain(cause)}`) {}

/**
 * Fails for an invalid port number, with which a system call would throw or bind another port.
 *
 * @since 0.1.0
 */
export const checkPort = (endpoint: string, host: string, port: number): Effect.Effect<void, ListenError> =>
  Number.isInteger(port) && port >= 0 && port <= 65_535
    ? Effect.void
    : Effect.fail(new ListenError({ endpoint, host, port, cause: new Error("a port is a number from 0 to 65535") }))

const explain = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
    case "EADDRINUSE":
      return "the port is in use. Stop what uses it, or choose another (0 picks a free one)"
    case "EACCES":
      return "this user may not bind that port. Choose one from 1024 on"
    case "EADDRNOTAVAIL":
    case "ENODEV":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "this machine has no such address. Choose one of its own, 127.0.0.1 or 0.0.0.0"
    default:
      return typeof code === "string" ? code : messageOf(cause)
  }
}
