/**
 * A broker's side of a network in memory.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type { Message } from "../../transport/Transport.ts"
import type { Handlers, Peer, TransportServer } from "../../transport/TransportServer.ts"
import type { Connection } from "./connection.ts"
import { fits } from "./memoryTransport.ts"

/** Handles the connections that come, each with a fiber of its own, until interrupted. */
export const run = (backlog: Queue.Dequeue<Connection>, maxMessageSize: number): TransportServer["run"] => (handlers) =>
  Queue.take(backlog).pipe(
    Effect.flatMap((connection) => Effect.forkScoped(serve(connection, handlers, maxMessageSize))),
    Effect.forever,
    Effect.scoped
  )

// One connection, from its acceptance to its end.
const serve = (connection: Connection, handlers: Handlers, maxMessageSize: number): Effect.Effect<void> => {
  const { server } = connection
  const isReadable = fits(maxMessageSize)
  const disconnect = Effect.sync(server.closeUnsafe)
  let lastPeer: Peer | undefined
  const peerOf = (envelope: string): Peer => ({
    identity: connection.identity,
    connection,
    ...envelope !== "" && { message: envelope },
    seesClose: true,
    sendUnsafe: (frames, settled) => {
      const sent = server.sendUnsafe({ envelope, frames })
      settled?.(sent)
      return sent
    },
    // Messages in memory arrive one by one.
    separateUnsafe: constVoid,
    close: envelope === "" ? disconnect : Effect.void,
    disconnect
  })
  const handle = (message: Message) =>
    Effect.suspend(() => {
      if (server.isClosed()) return Effect.void
      const peer = peerOf(message.envelope)
      lastPeer = peer
      return isReadable(message)
        ? handlers.onMessage(peer, message.frames) ?? Effect.void
        : Effect.andThen(handlers.onMessage(peer, undefined) ?? Effect.void, disconnect)
    })
  return server.pull.pipe(
    Effect.flatMap(Effect.forEach(handle, { discard: true })),
    Effect.forever,
    Effect.ensuring(Effect.suspend(() => {
      server.closeUnsafe()
      return lastPeer === undefined ? Effect.void : handlers.onClose(lastPeer)
    })),
    Effect.ignore
  )
}
