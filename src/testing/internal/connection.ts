/**
 * A connection in memory: two pipes, and the two ends that they connect.
 */

import type * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type { Message } from "../../transport/Transport.ts"
import * as Pipe from "./pipe.ts"

/** One side of a connection. */
export interface End {
  /** Sends a message if there is room, and returns whether there was. */
  readonly sendUnsafe: (message: Message) => boolean
  /** Sends a message, waiting for room; `false` if the connection has ended. */
  readonly send: (message: Message) => Effect.Effect<boolean>
  /** The messages of the other side. Fails after the last, or once this side has closed. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Message>, Cause.Done>
  /** Ends the connection: the other side still gets what was sent. */
  readonly closeUnsafe: () => void
  readonly isClosed: () => boolean
}

/** A connection, from its opening to the close of both ends. */
export interface Connection {
  /** The identity of the client. */
  readonly identity: string
  /** The address of the server. */
  readonly address: string
  readonly client: End
  readonly server: End
  /** The network was cut; if `isLosing`, messages that are not yet read are lost. */
  readonly cutUnsafe: (isLosing: boolean) => void
  /** The network may have become silent, or was restored. */
  readonly updateUnsafe: () => void
}

/** Makes a connection on a network that can be silent. `onClosed` is called when both ends are closed. */
export const make = (options: {
  readonly identity: string
  readonly address: string
  readonly isSilent: () => boolean
  readonly onClosed: (connection: Connection) => void
}): Connection => {
  const toServer = Pipe.make(options.isSilent)
  const toClient = Pipe.make(options.isSilent)
  let open = 2
  const endOf = (incoming: Pipe.Pipe, outgoing: Pipe.Pipe): End => {
    let isClosed = false
    return {
      sendUnsafe: outgoing.offerUnsafe,
      send: outgoing.offer,
      pull: incoming.pull,
      closeUnsafe: () => {
        if (isClosed) return
        isClosed = true
        outgoing.endUnsafe()
        incoming.abandonUnsafe()
        if (--open === 0) options.onClosed(connection)
      },
      isClosed: () => isClosed
    }
  }
  const connection: Connection = {
    identity: options.identity,
    address: options.address,
    client: endOf(toClient, toServer),
    server: endOf(toServer, toClient),
    cutUnsafe: (isLosing) => {
      toServer.cutUnsafe(isLosing)
      toClient.cutUnsafe(isLosing)
    },
    updateUnsafe: () => {
      toServer.updateUnsafe()
      toClient.updateUnsafe()
    }
  }
  return connection
}
