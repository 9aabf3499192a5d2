/**
 * How a broker receives messages of backends: the contract that its backend endpoint knows, with drivers beside it.
 *
 * A transport server carries messages and knows nothing of their meaning. A connection must be authorized before anything
 * of it is kept. A server reads at most one message of a connection at a time and stops reading while it is handled; what
 * waits to be sent on a connection is bounded in bytes. What is too large to be read is answered with an error.
 *
 * @since 0.1.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Frames } from "../protocol/Frame.ts"

/**
 * The sender of a message, as the way back to it.
 *
 * @since 0.1.0
 */
export interface Peer {
  /** Who it says it is. */
  readonly identity: string
  /** The same for all messages of one connection, and different for those of another. */
  readonly connection: unknown
  /**
   * The name of the message that this peer came with, among those of its identity, if the other side has names: they count
   * up from 1 in base 36, and `Requester.request` tells them. Only our own Clients and Workers have names; it is empty for
   * messages without a response.
   */
  readonly message?: string | undefined
  /**
   * Puts a message into the connection's outbound queue, with the envelope of the message that this peer came with. Never
   * waits. `settled` is called exactly once, at once or later, with whether the message was handed to the system. `false`,
   * also as the result, if the connection has ended or its queue is full because the peer does not read; nothing of the
   * message was sent then.
   */
  readonly sendUnsafe: (frames: Frames, settled?: (delivered: boolean) => void) => boolean
  /**
   * From now on every message to this connection has a write of its own, for peers that discard what arrives together.
   * Where messages arrive one by one anyway this does nothing.
   */
  readonly separateUnsafe: () => void
  /** Whether the peer's program sees that its connection was closed. If not, the server has to say goodbye first. */
  readonly seesClose: boolean
  /**
   * Ends the exchange that this peer came with: closes a connection that is for one request, after what was sent has left.
   * A connection that carries more requests stays open.
   */
  readonly close: Effect.Effect<void>
  /** Closes the connection, whatever it is for, after what was sent has left, within a second. */
  readonly disconnect: Effect.Effect<void>
}

/**
 * What a broker does with what it receives.
 *
 * @since 0.1.0
 */
export interface Handlers {
  /**
   * Decides whether a connection may go on, before a message of it is read. Gives what its messages are answered with
   * until it is closed; `undefined` if it may go on. Default: every connection may.
   */
  readonly authorize?: ((peer: Peer) => Effect.Effect<Frames | undefined>) | undefined
  /**
   * Handles a message, without identity and envelope. Messages of one connection come in order, one at a time. `undefined`
   * stands for a message that cannot be read. What can be done at once is done when this is called, and the result does
   * the rest; `undefined` if nothing is left to do.
   */
  readonly onMessage: (peer: Peer, frames: Frames | undefined) => Effect.Effect<void> | undefined
  /** A connection that was authorized has ended. No message of it follows. */
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
  /** Handles all connections until interrupted; then they are closed, after what was sent has left. */
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
  /** How many bytes may wait for one connection, default 16 MiB. */
  readonly outboxSize?: number | undefined
  /** How many connections there may be, default 4096. Beyond it those that are not authorized yet are closed first. */
  readonly maxConnections?: number | undefined
  /** How long the end of `run` may take at most, default 5 seconds. */
  readonly shutdownTimeout?: Duration.Duration | undefined
}) => Effect.Effect<TransportServer, ListenError, Scope.Scope>

/**
 * A server could not be bound: the port is in use, or this machine has no such address.
 *
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("kosmonaut/transport/TransportServer/ListenError")(
  "ListenError",
  {
    /** For whom: `browsers`, `backends over ZeroMQ`, `backends over TCP`. */
    endpoint: Schema.String,
    host: Schema.String,
    port: Schema.Number,
    cause: Schema.Defect()
  }
) {
  override get message(): string {
    return `Cannot listen on ${this.host}:${this.port} for ${this.endpoint}: ${explain(this.cause)}`
  }
}

/**
 * Fails for a port that is none: system calls would die of it, or take another.
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
      return code === undefined && cause instanceof Error ? cause.message : String(code ?? cause)
  }
}
