/**
 * The last message of an exchange with a backend: a response, an error or `QT`.
 */

import * as Effect from "effect/Effect"
import { FromServer } from "../../../protocol/Command.ts"
import { encodeFromServer } from "../../../protocol/CommandCodec.ts"
import type { Frames } from "../../../protocol/Frame.ts"
import type { StatusError } from "../../../protocol/KosmonautError.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import { failureOf } from "../../engine/ResponseCache.ts"

/** The frames of a response. The reason of an error is only for peers that support our extensions of WebRocket 0.3. */
export const encode = (response: FromServer, supportsExtensions: boolean): Frames =>
  response._tag === "Failure" && !supportsExtensions && response.reason !== undefined
    ? encodeFromServer(FromServer.Failure({ code: response.code }))
    : encodeFromServer(response)

/** Whether a peer supports extensions, as far as its transport knows. */
export const supportsExtensions = ({ message }: Peer): boolean => message !== undefined

/** Sends a response, and closes a connection that is for one request. */
export const respond = (peer: Peer, response: FromServer): Effect.Effect<void> =>
  Effect.suspend(() => respondUnsafe(peer, response) ?? Effect.void)

/**
 * The same, synchronously; returns the rest of the work. A Client that does not read is disconnected, so that it never waits
 * for a response that was dropped.
 */
export const respondUnsafe = (peer: Peer, response: FromServer): Effect.Effect<void> | undefined => {
  if (!peer.sendUnsafe(encode(response, supportsExtensions(peer)))) return peer.disconnect
  return peer.close === Effect.void ? undefined : peer.close
}

/** A response that has a value. */
export const responseOf = (value: unknown): FromServer => FromServer.Response({ json: JSON.stringify(value) })

/** Sends an error. */
export const reject = (peer: Peer, error: StatusError, withReason = supportsExtensions(peer)): Effect.Effect<void> =>
  Effect.suspend(() => {
    peer.sendUnsafe(encode(failureOf(error), withReason))
    return peer.close
  })

/** Sends `QT` to a worker, and closes its connection. */
export const dismiss = (peer: Peer): Effect.Effect<void> =>
  Effect.suspend(() => {
    peer.sendUnsafe(encodeFromServer(FromServer.Quit()))
    return peer.disconnect
  })
