/**
 * The commands of Workers, which register them in the vhost's lobby, and the messages to them.
 */

import * as Effect from "effect/Effect"
import { type FromClient, FromServer, type ReadyOptions } from "../../../protocol/Command.ts"
import { encodeFromServer, encodeTrigger } from "../../../protocol/CommandCodec.ts"
import * as Json from "../../../protocol/Json.ts"
import * as JsonText from "../../../protocol/JsonText.ts"
import { BadRequestError, type StatusError } from "../../../protocol/KosmonautError.ts"
import type { Peer } from "../../../transport/TransportServer.ts"
import type { Worker } from "../../engine/Lobby.ts"
import type { Backend } from "./authenticator.ts"
import { dismiss } from "./response.ts"

/**
 * Handles a command of a worker, and returns the rest of the work, if any. Acks and nacks for deliveries that this connection does not
 * hold are ignored.
 */
export const handle = (
  backend: Backend,
  peer: Peer,
  command: FromClient
): Effect.Effect<void, StatusError> | undefined => {
  const { lobby } = backend.vhost
  switch (command._tag) {
    case "Ready":
      backend.supportsExtensions ||= command.options !== undefined
      // The original's Go worker discards messages that arrive together with others.
      if (command.options === undefined) peer.separateUnsafe()
      return lobby.register(workerOf(peer, command.options))
    case "Heartbeat":
      return Effect.flatMap(
        lobby.heartbeat(peer.identity, peer.connection),
        (isKnown) => isKnown ? Effect.void : dismiss(peer)
      )
    case "Ack":
      lobby.ackUnsafe(peer.identity, peer.connection, command.deliveries)
      return undefined
    case "Nack":
      lobby.nackUnsafe(peer.identity, peer.connection, command.delivery, command.reason)
      return undefined
    case "Respond": {
      const { delivery, outcome } = command
      const json = JsonText.value(command.json)
      if (json === undefined) lobby.nackUnsafe(peer.identity, peer.connection, delivery, notJson)
      else lobby.respondUnsafe(peer.identity, peer.connection, delivery, outcome, json)
      return undefined
    }
    case "Quit":
      return Effect.andThen(
        lobby.leave(peer.identity, peer.connection),
        peer.seesClose ? peer.disconnect : dismiss(peer)
      )
    default:
      return Effect.fail(new BadRequestError({ detail: "a worker cannot send this command" }))
  }
}

const notJson = `its worker has sent a response that is not JSON, or nested deeper than ${Json.maxDepth} levels`

// A worker without options is sent events as the original broker sends them.
const workerOf = (peer: Peer, options: ReadyOptions | undefined): Worker => ({
  id: peer.identity,
  connection: peer.connection,
  lifecycle: options?.lifecycle === true,
  responses: options?.responses,
  prefetch: options?.prefetch,
  maxAttempts: options?.maxAttempts ?? 1,
  deliverUnsafe: (json, origin, settled, delivery) => {
    peer.sendUnsafe(encodeTrigger(json, options && origin, delivery), settled)
  },
  heartbeatUnsafe: () => {
    peer.sendUnsafe(heartbeat)
  },
  dismiss: dismiss(peer)
})

const heartbeat = encodeFromServer(FromServer.Heartbeat())
