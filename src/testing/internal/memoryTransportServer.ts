/**
 * A broker's side of a network in memory.
 */

import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type { Frames } from "../../protocol/Frame.ts"
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

// One connection, from accept to close.
const serve = (connection: Connection, handlers: Handlers, maxMessageSize: number): Effect.Effect<void> => {
  const { identity, server } = connection
  const isReadable = fits(maxMessageSize)
  let hasSpoken = false
  const peer: Peer = {
    identity,
    connection,
    ...connection.message !== "" && { message: connection.message },
    seesClose: true,
    sendUnsafe: (frames, settled) => {
      const sent = server.sendUnsafe(frames)
      settled?.(sent)
      return sent
    },
    // Messages in memory arrive one by one.
    separateUnsafe: constVoid,
    close: Effect.sync(server.closeUnsafe),
    disconnect: Effect.sync(server.closeUnsafe)
  }
  const handle = (frames: Frames) =>
    Effect.suspend(() => {
      if (server.isClosed()) return Effect.void
      hasSpoken = true
      return isReadable(frames)
        ? handlers.onMessage(peer, frames) ?? Effect.void
        : Effect.andThen(handlers.onMessage(peer, undefined) ?? Effect.void, peer.close)
    })
  return server.pull.pipe(
    Effect.flatMap(Effect.forEach(handle, { discard: true })),
    Effect.forever,
    Effect.ensuring(Effect.suspend(() => {
      server.closeUnsafe()
      return hasSpoken ? handlers.onClose(peer) : Effect.void
    })),
    Effect.ignore
  )
}
