/**
 * Classic TCP on one connection, as the original's clients speak it.
 *
 * The first message of a connection begins with the identity and an empty frame; later ones may leave both out. The
 * identity is read first, and nothing after it before it is authorized. A response without arguments carries one empty
 * frame: the original go client insists on it.
 *
 * Our own Clients first send an identity and the frame `K1`, to keep the connection open; the original takes that for a bad
 * request. The response is `K1`, and from then on every message begins with a frame that its response echoes.
 */

import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Frame from "../../protocol/Frame.ts"
import * as FrameParser from "../../protocol/FrameParser.ts"
import type { Peer } from "../TransportServer.ts"
import * as Batch from "./batch.ts"
import { type Link, type Protocol, type Step, unauthorized } from "./link.ts"
import type { Sending } from "./writer.ts"

/** The longest identity, in bytes. */
const maxIdentity = 255

/** Speaks classic TCP on a connection. */
export const make = (link: Link): Protocol => {
  const parser = FrameParser.make(link.maxMessageSize)
  // The bytes that arrived before the identity was authorized.
  let pending = none
  let peer: ClassicPeer | undefined
  let isAuthorized = false
  let isRefused = false
  let isPersistent = false
  let hasMessage = false

  const decide = (frames: Frame.Frames | undefined): void => {
    isAuthorized = frames === undefined
    isRefused = !isAuthorized
    if (frames === undefined) parser.feed(pending)
    pending = none
    if (frames === undefined) return
    link.warnUnsafe(unauthorized)
    peer!.sendUnsafe(frames)
    link.closeUnsafe()
  }
  const identify = (): Step => {
    const identity = identityIn(pending)
    if (identity === undefined) return "needs more"
    peer = new ClassicPeer(link, identity, undefined)
    return Effect.map(link.authorize(peer), decide)
  }
  const handle = (self: ClassicPeer, frames: Frame.Frames): Effect.Effect<void> | undefined => {
    const { handlers } = link
    const [first] = frames
    if (isPersistent) {
      const sender = new ClassicPeer(link, self.identity, first ?? "")
      return handlers.onMessage(sender, frames.length > 0 ? frames.slice(1) : undefined)
    }
    if (!hasMessage && frames.length === 2 && frames[1] === Batch.marker) {
      isPersistent = true
      self.sendUnsafe(frames.slice(1))
      return undefined
    }
    const hasEnvelope = frames.length > 2 && frames[1] === ""
    // The first message needs an envelope.
    return handlers.onMessage(self, hasEnvelope ? frames.slice(2) : hasMessage ? frames : undefined)
  }
  const step = (): Step => {
    if (!isAuthorized) return peer === undefined ? identify() : "needs more"
    const message = parser.next()
    if (Result.isSuccess(message) && message.success === undefined) return "needs more"
    link.establishedUnsafe()
    if (Result.isFailure(message)) {
      return Effect.andThen(link.handlers.onMessage(peer!, undefined) ?? Effect.void, link.close)
    }
    const rest = handle(peer!, message.success!) ?? "done"
    hasMessage = true
    return rest
  }
  return {
    feed: (chunk) => {
      if (isAuthorized) parser.feed(chunk)
      else if (!isRefused) pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    },
    step
  }
}

// The first line. One that is too long is no identity.
const identityIn = (bytes: Buffer): string | undefined => {
  const end = bytes.indexOf(0x0a)
  if (end === -1 && bytes.length <= maxIdentity) return undefined
  return end === -1 || end > maxIdentity ? "" : bytes.toString("utf8", 0, end)
}

/** The bytes of messages. A response without arguments carries one empty frame. */
export const encode = (sendings: ReadonlyArray<Sending>): Uint8Array => {
  let text = ""
  for (const { envelope, frames, prefix } of sendings) {
    if (prefix === undefined) text += `${envelope}\n${Frame.textOf(frames)}`
    else text += Frame.textOf(frames.length === 1 && frames[0] !== Batch.marker ? [...frames, ""] : frames)
  }
  return Buffer.from(text)
}

const none: Buffer = Buffer.alloc(0)

const plain: ReadonlyArray<string> = []

class ClassicPeer implements Peer {
  readonly identity: string
  readonly connection: Link
  readonly message: string | undefined
  readonly seesClose = true
  constructor(link: Link, identity: string, envelope: string | undefined) {
    this.connection = link
    this.identity = identity
    this.message = envelope
  }
  sendUnsafe(frames: Frame.Frames, settled?: (delivered: boolean) => void): boolean {
    const { message } = this
    return this.connection.writer.sendUnsafe({
      prefix: message === undefined ? plain : undefined,
      envelope: message ?? "",
      frames,
      settled
    })
  }
  separateUnsafe(): void {
    this.connection.writer.separateUnsafe()
  }
  get close(): Effect.Effect<void> {
    return this.message === undefined ? this.connection.close : Effect.void
  }
  get disconnect(): Effect.Effect<void> {
    return this.connection.close
  }
}
