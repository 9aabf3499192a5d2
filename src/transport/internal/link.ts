/**
 * The interfaces between a protocol and the connection that speaks it.
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
  /** Authorizes a peer. `undefined` if it is authorized; otherwise the response to its messages. */
  readonly authorize: (peer: Peer) => Effect.Effect<Frames | undefined>
  /** The connection is established: its deadline no longer applies. */
  readonly establishedUnsafe: () => void
  /** Assigns an identity to this connection. An earlier connection with the same identity is closed. */
  readonly takeOverUnsafe: (identity: string) => void
  /** Flushes and closes the connection. */
  readonly closeUnsafe: () => void
  readonly close: Effect.Effect<void>
  /** Logs a warning, throttled. */
  readonly warnUnsafe: (what: string) => void
}

/** The result of a step: more bytes are needed, it is done, or the effect is the rest of its work. */
export type Step = "needs more" | "done" | Effect.Effect<void>

/** A protocol on one connection. */
export interface Protocol {
  /** Takes the next bytes. */
  readonly feed: (chunk: Buffer) => void
  /** Handles one message, or a part of one, of the bytes that were fed. */
  readonly step: () => Step
}

/** The warning about peers that are rejected. */
export const unauthorized = "A backend without a valid access token was rejected"
