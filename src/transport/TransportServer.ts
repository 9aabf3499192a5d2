/**
 * How a broker hears backends: the contract that its backend endpoint knows, with drivers beside it.
 *
 * A transport server carries messages and knows nothing of vhosts or commands. It bounds what it reads and what waits to
 * be sent to one peer: what is too large is answered with an error, and nothing more is sent to a peer that does not read.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Frames } from "../protocol/Frame.ts"

/**
 * Whoever sent a message, as the way back to them.
 *
 * @since 0.1.0
 */
export interface Peer {
  /** Who it says it is; nobody has looked at it yet. */
  readonly identity: string
  /** The same for all messages of one connection, and different for those of another. */
  readonly connection: unknown
  /**
   * The name of the message that this peer came with, among those of its identity, where the other side has names: they
   * count up from 1 in base 36, and `Requester.request` tells them.
   */
  readonly message?: string | undefined
  /**
   * Hands a message to the peer's outbox, with the envelope of the message that this peer came with. Never waits.
   * `settled` hears, at once or later and exactly once, whether the message was handed to the system; `false` when the
   * peer has gone or its outbox is full because it does not read, and then nothing of it was sent.
   */
  readonly sendUnsafe: (frames: Frames, settled?: (delivered: boolean) => void) => void
  /** Whether the peer can see that it was closed. Where it cannot, a goodbye has to be said. */
  readonly seesClose: boolean
  /** Ends the connection once what was sent has left, where the transport has connections that a server can end. */
  readonly close: Effect.Effect<void>
}

/**
 * What a broker does with what it hears.
 *
 * @since 0.1.0
 */
export interface Handlers {
  /**
   * A message, without identity and envelope. Messages of one peer come in order, one at a time. `undefined` stands for
   * one that could not be read; the peer is closed after it. What can be done at once is done when this is called, and
   * what it gives does the rest; `undefined` where nothing is left to do.
   */
  readonly onMessage: (peer: Peer, frames: Frames | undefined) => Effect.Effect<void> | undefined
  /** The peer's connection has ended, where the transport can tell. Nothing comes from it any more. */
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
  /** Handles everybody until interrupted. */
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
  readonly maxMessageSize: number
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
