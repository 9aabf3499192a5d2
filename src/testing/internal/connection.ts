/**
 * A connection in memory: two pipes, and who has which end of each.
 */

import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type { Frames } from "../../protocol/Frame.ts"
import * as Pipe from "./pipe.ts"

/** What one side has of a connection. */
export interface End {
  /** Hands over a message, or not at all. */
  readonly sendUnsafe: (frames: Frames) => boolean
  /** Hands over a message, waiting for room; `false` says that the connection has ended. */
  readonly send: (frames: Frames) => Effect.Effect<boolean>
  /** What the other side has sent. Fails after the last, or once this side has closed. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Frames>, Cause.Done>
  /** Ends the connection: the other side still gets what was sent. */
  readonly closeUnsafe: () => void
  readonly isClosed: () => boolean
}

/** A connection, from its opening to the close of both ends. */
export interface Connection {
  /** Who the client says it is. */
  readonly identity: string
  /** The name of the one message on it, empty where there are more. */
  readonly message: string
  /** Where the server listens. */
  readonly address: string
  readonly client: End
  readonly server: End
  /** The network has broken; where `losing`, with all that was on its way. */
  readonly breakUnsafe: (losing: boolean) => void
  /** The network may have become silent, or audible. */
  readonly lineChangedUnsafe: () => void
}

/** Makes a connection on a line that can be silent. `onClosed` is called when both ends are closed. */
export const make = (options: {
  readonly identity: string
  readonly message: string
  readonly address: string
  readonly isSilent: () => boolean
  readonly onClosed: (connection: Connection) => void
}): Connection => {
  const toServer = Pipe.make(options.isSilent)
  const toClient = Pipe.make(options.isSilent)
  let open = 2
  const endOf = (incoming: Pipe.Pipe, outgoing: Pipe.Pipe): End => {
    let closed = false
    return {
      sendUnsafe: outgoing.offerUnsafe,
      send: outgoing.offer,
      pull: incoming.pull,
      closeUnsafe: () => {
        if (closed) return
        closed = true
        outgoing.endUnsafe()
        incoming.abandonUnsafe()
        if (--open === 0) options.onClosed(connection)
      },
      isClosed: () => closed
    }
  }
  const connection: Connection = {
    identity: options.identity,
    message: options.message,
    address: options.address,
    client: endOf(toClient, toServer),
    server: endOf(toServer, toClient),
    breakUnsafe: (losing) => {
      toServer.breakUnsafe(losing)
      toClient.breakUnsafe(losing)
    },
    lineChangedUnsafe: () => {
      toServer.lineChangedUnsafe()
      toClient.lineChangedUnsafe()
    }
  }
  return connection
}
