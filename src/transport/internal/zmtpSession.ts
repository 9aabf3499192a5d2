/**
 * ZeroMQ on one connection, as a `ROUTER` with one peer.
 *
 * A message is `[envelope…] [] [command] [arguments…]`; the response goes back with the same envelope, which is how a
 * pipelining client gets its correlation id, and why a plain `REQ` socket needs none. Peers that mark their envelope read
 * batches and get them. The identity comes in the handshake, and is authorized before a message is read: a rejected
 * peer gets an error for each message until its deadline. (Source: ZeroMQ RFC 28; WebRocket's draft.)
 */

import * as Effect from "effect/Effect"
import * as Frame from "../../protocol/Frame.ts"
import type { CurveServer } from "../CurveServer.ts"
import type { Peer } from "../TransportServer.ts"
import * as Batch from "./batch.ts"
import { type Link, type Protocol, type Step, unauthorized } from "./link.ts"
import type { Sending } from "./writer.ts"
import * as Zmtp from "./zmtp.ts"
import * as ZmtpCodec from "./zmtpCodec.ts"

/** How many frames may stand before the delimiter. */
const maxEnvelope = 7

/** The largest message of a peer that is not authorized. */
const strangersLimit = 1024

/** ZMTP on a connection, and how messages to its peer are written. */
interface ZmtpSession extends Protocol {
  readonly encode: (sendings: ReadonlyArray<Sending>) => Uint8Array
}

/** Speaks ZMTP on a connection. With a key peers may encrypt. */
export const make = (link: Link, server: CurveServer | undefined): ZmtpSession => {
  const codec = ZmtpCodec.make(strangersLimit, server, link.writeUnsafe)
  const encodeAll = encode(link.maxMessageSize)
  const messages = makeMessages(link)
  let identity: string | undefined

  const decide = (refusal: Frame.Frames | undefined): void => {
    messages.begin(identity!, refusal)
    if (refusal !== undefined) return link.warnUnsafe(unauthorized)
    codec.limitTo(link.maxMessageSize)
    link.takeOverUnsafe(identity!)
    // A Client may connect long before it sends a request. A worker must send `RD` in time.
    if (!identity!.startsWith("dlr:")) link.establishedUnsafe()
  }
  const handshake = (body: Buffer): Step => {
    const properties = Zmtp.propertiesOf(body)
    const type = String(properties?.get("socket-type") ?? "")
    if (!peerTypes.has(type)) return fail(link, codec, "a backend's socket is a DEALER or a REQ")
    identity = String(properties?.get("identity") ?? "")
    link.writeUnsafe(codec.command("READY", Zmtp.encodeProperties({ "Socket-Type": "ROUTER", "Identity": "" })))
    return Effect.map(link.authorize(new PlainPeer(link, identity, none, codec.peerKey())), decide)
  }
  const execute = (name: string, body: Buffer): Step => {
    if (identity === undefined) return name === "READY" ? handshake(body) : fail(link, codec, withoutReady)
    // After the time to live in the first two bytes comes what is to be echoed.
    if (name === "PING") link.writeUnsafe(codec.command("PONG", body.subarray(2, 18)))
    return "done"
  }
  const read = (part: Zmtp.Part): Step => {
    if (part._tag === "Greeting") return "done"
    if (part._tag === "Malformed") return fail(link, codec, part.problem, part.code)
    if (part._tag === "Command") return execute(part.name, part.body)
    if (identity === undefined) return fail(link, codec, withoutReady)
    return part._tag === "Message" ? messages.handle(part.frames) : messages.reject(part.frames, part.isFrame)
  }
  return {
    feed: codec.feed,
    step: () => {
      const next = messages.step()
      if (next !== undefined) return next
      const part = codec.next()
      return part === undefined ? "needs more" : read(part)
    },
    encode: (sendings) => codec.encode(encodeAll(sendings))
  }
}

const withoutReady = "the handshake has no READY"

const fail = (link: Link, codec: ZmtpCodec.Codec, problem: string, code = problem): Step => {
  link.warnUnsafe(`A connection was closed that is not a backend's over ZeroMQ: ${problem}`)
  const reason = Buffer.from(code)
  link.writeUnsafe(codec.command("ERROR", Buffer.concat([Buffer.from([reason.length]), reason])))
  link.closeUnsafe()
  return "done"
}

// The messages after the handshake. If the peer was rejected, its messages are not read.
const makeMessages = (link: Link) => {
  let identity = ""
  let refusal: Frame.Frames | undefined
  // The messages of a batch, and the index of the next one.
  let items: ReadonlyArray<Item> = []
  let item = 0

  const handle = (frames: ReadonlyArray<Buffer>): Step => {
    const [envelope, delimiter] = envelopeOf(frames)
    if (refusal !== undefined) {
      if (!new PlainPeer(link, identity, envelope).sendUnsafe(refusal)) link.closeUnsafe()
      return "done"
    }
    link.establishedUnsafe()
    if (frames.length === 1 && Batch.isBatch(frames[0]!)) {
      items = Batch.decode(frames[0]!.toString()) ?? unreadable
      item = 0
      link.writer.holdUnsafe()
      return "done"
    }
    const isMarked = envelope.length > 0 && envelope.length < 3 && String(envelope.at(-1)) === Batch.marker
    const peer = isMarked
      ? new BatchPeer(link, identity, envelope.length === 2 ? String(envelope[0]) : "")
      : new PlainPeer(link, identity, envelope)
    const content = delimiter === -1 ? undefined : frames.slice(delimiter + 1).map(String)
    return link.handlers.onMessage(peer, content) ?? "done"
  }
  return {
    /** The peer was authorized, or is rejected with these frames. */
    begin: (who: string, frames: Frame.Frames | undefined): void => {
      identity = who
      refusal = frames
    },
    handle,
    /** Rejects a message that is too large. */
    reject: (frames: ReadonlyArray<Buffer>, isFrame: boolean): Step => {
      if (refusal !== undefined) return handle(frames)
      link.establishedUnsafe()
      const rest = link.handlers.onMessage(new PlainPeer(link, identity, none), undefined) ?? Effect.void
      return isFrame ? Effect.andThen(rest, link.close) : rest
    },
    /** Handles the next message of a batch, if there is one. */
    step: (): Step | undefined => {
      const next = items[item]
      if (next !== undefined) {
        item++
        return link.handlers.onMessage(new BatchPeer(link, identity, next.envelope), next.frames) ?? "done"
      }
      if (items.length > 0) {
        items = []
        link.writer.flushUnsafe()
      }
      return undefined
    }
  }
}

/** The bytes of messages without encryption, in order. Consecutive messages to peers that read batches share as few batches as possible. */
const encode = (maxMessageSize: number) => (sendings: ReadonlyArray<Sending>): Uint8Array => {
  const messages: Array<ReadonlyArray<string | Uint8Array>> = []
  for (let from = 0; from < sendings.length;) {
    const { frames, prefix } = sendings[from]!
    if (prefix !== undefined) {
      messages.push([...prefix, "", ...frames])
      from++
      continue
    }
    let to = from + 1
    while (to < sendings.length && sendings[to]!.prefix === undefined) to++
    const run = to - from === sendings.length ? sendings : sendings.slice(from, to)
    for (const batch of Batch.split(run, maxMessageSize)) messages.push([Batch.encode(batch)])
    from = to
  }
  let size = 0
  for (const message of messages) size += Zmtp.sizeOf(message)
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const message of messages) at = Zmtp.write(bytes, at, message)
  return bytes
}

// The types of socket that a ROUTER may speak with.
const peerTypes = new Set(["DEALER", "REQ", "ROUTER"])

const none: ReadonlyArray<Buffer> = []

/** A message of a batch; `undefined` if it cannot be read. */
interface Item {
  readonly envelope: string
  readonly frames: Frame.Frames | undefined
}

// A batch that cannot be read counts as one message that cannot be read.
const unreadable: ReadonlyArray<Item> = [{ envelope: "", frames: undefined }]

// The frames before the delimiter, which are echoed, and its index. -1 if there is no delimiter within the limits; then nothing
// is echoed, so that a large envelope is not queued for a peer that does not read.
const envelopeOf = (frames: ReadonlyArray<Buffer>): readonly [ReadonlyArray<Buffer>, number] => {
  let size = 0
  for (let index = 0; index < frames.length && index <= maxEnvelope; index++) {
    const frame = frames[index]!
    size += frame.length
    if (size > 2 * Frame.envelopeSize) break
    if (frame.length === 0) {
      return [index === 0 ? none : frames.slice(0, index).map((one) => Buffer.from(one)), index]
    }
  }
  return [none, -1]
}

class PlainPeer implements Peer {
  readonly identity: string
  readonly connection: Link
  readonly envelope: ReadonlyArray<Uint8Array>
  readonly seesClose = false
  readonly close = Effect.void
  readonly key: string | undefined
  constructor(link: Link, identity: string, envelope: ReadonlyArray<Uint8Array>, key?: string) {
    this.connection = link
    this.identity = identity
    this.envelope = envelope
    this.key = key
  }
  sendUnsafe(frames: Frame.Frames, settled?: (delivered: boolean) => void): boolean {
    return this.connection.writer.sendUnsafe({ prefix: this.envelope, envelope: "", frames, settled })
  }
  separateUnsafe(): void {}
  get disconnect(): Effect.Effect<void> {
    return this.connection.close
  }
}

class BatchPeer implements Peer {
  readonly identity: string
  readonly connection: Link
  readonly message: string
  readonly seesClose = false
  readonly close = Effect.void
  constructor(link: Link, identity: string, message: string) {
    this.connection = link
    this.identity = identity
    this.message = message
  }
  sendUnsafe(frames: Frame.Frames, settled?: (delivered: boolean) => void): boolean {
    return this.connection.writer.sendUnsafe({ prefix: undefined, envelope: this.message, frames, settled })
  }
  separateUnsafe(): void {}
  get disconnect(): Effect.Effect<void> {
    return this.connection.close
  }
}
