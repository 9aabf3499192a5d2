/**
 * What a protocol needs of the connection that it is spoken on, and what the connection needs of it.
 */

import type * as Effect from "effect/Effect"
import type { Frames } from "../../protocol/Frame.ts"
import type { Handlers, Peer } from "../TransportServer.ts"
import type { Writer } from "./writer.ts"

/** A connection as its protocol sees it. */
export interface Link {
  readonly handlers: Handlers
  /** The largest message in bytes. */
  readonly maxMessageSize: number
  readonly writer: Writer
  /** Writes bytes of the protocol itself, unless the peer does not read. */
  readonly writeUnsafe: (bytes: Uint8Array) => void
  /** Asks whether a peer may go on; gives what it is answered with if not. */
  readonly authorize: (peer: Peer) => Effect.Effect<Frames | undefined>
  /** The connection need not hurry any more: it has shown what it is for. */
  readonly establishedUnsafe: () => void
  /** No other connection has this identity from now on: an earlier one is closed. */
  readonly takeOverUnsafe: (identity: string) => void
  /** Closes the connection once what was sent has left. */
  readonly closeUnsafe: () => void
  readonly close: Effect.Effect<void>
  /** Counts something that whoever runs the broker should know. */
  readonly warnUnsafe: (what: string) => void
}

/** What a step of a protocol has done: nothing, since more bytes are needed; something; or this is left to do. */
export type Step = "needs more" | "done" | Effect.Effect<void>

/** A protocol on one connection. */
export interface Protocol {
  /** Takes the next bytes. */
  readonly feed: (chunk: Buffer) => void
  /** Handles one message, or a part of one, of those that were fed. */
  readonly step: () => Step
}

/** What is logged for peers that are refused. */
export const unauthorized = "A backend without a good access token was refused"
