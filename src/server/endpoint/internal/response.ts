/**
 * What a backend is sent last in an exchange: a response, an error, a goodbye.
 */

import * as Effect from "effect/Effect"
import { encodeFromServer, FromServer } from "../../../protocol/Command.ts"
import type { Frames } from "../../../protocol/Frame.ts"
import type { StatusError } from "../../../protocol/KosmonautError.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import { failureOf } from "../../engine/Idempotency.ts"

/** The frames of a response. The reason of an error goes only to those who know additions to WebRocket 0.3. */
export const encode = (response: FromServer, knowsAdditions: boolean): Frames =>
  response._tag === "Failure" && !knowsAdditions && response.reason !== undefined
    ? encodeFromServer(FromServer.Failure({ code: response.code }))
    : encodeFromServer(response)

/** Whether a peer knows additions, as far as its transport can tell. */
export const knowsAdditions = ({ message }: Peer): boolean => message !== undefined

/** Sends a response, and ends a connection that was for this request alone. */
export const respond = (peer: Peer, response: FromServer): Effect.Effect<void> =>
  Effect.suspend(() => respondUnsafe(peer, response) ?? Effect.void)

/**
 * The same at once; gives what is left to do. A Client that does not read what it asked for is disconnected, so that it
 * never waits for a response that was dropped.
 */
export const respondUnsafe = (peer: Peer, response: FromServer): Effect.Effect<void> | undefined => {
  if (!peer.sendUnsafe(encode(response, knowsAdditions(peer)))) return peer.disconnect
  return peer.close === Effect.void ? undefined : peer.close
}

/** Sends an error. */
export const refuse = (peer: Peer, error: StatusError, knows = knowsAdditions(peer)): Effect.Effect<void> =>
  Effect.suspend(() => {
    peer.sendUnsafe(encode(failureOf(error), knows))
    return peer.close
  })

/** Says goodbye to a worker, and closes its connection. */
export const dismiss = (peer: Peer): Effect.Effect<void> =>
  Effect.suspend(() => {
    peer.sendUnsafe(encodeFromServer(FromServer.Quit()))
    return peer.disconnect
  })
