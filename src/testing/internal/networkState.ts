/**
 * The state of a network in memory, which all its connections share: connected, cut or silent.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Connection from "./connection.ts"
import { turn } from "./pipe.ts"

/** The state of a network, and the connections on it. */
export interface NetworkState {
  readonly isCut: () => boolean
  /** Waits while it is silent. */
  readonly audible: Effect.Effect<void>
  /** Makes a connection with this identity to the server at `address`. */
  readonly connectUnsafe: (identity: string, address: string) => Connection.Connection
  /** Closes the server's ends of all connections to `address`. */
  readonly disconnectUnsafe: (address: string) => void
  readonly set: (state: State) => Effect.Effect<void>
}

type State = "connected" | "cut" | "silent"

/** Makes it, connected. */
export const make = (): NetworkState => {
  let state: State = "connected"
  const audible = Latch.makeUnsafe(true)
  const connections = new Set<Connection.Connection>()
  const isSilent = () => state === "silent"

  return {
    isCut: () => state === "cut",
    audible: Effect.suspend(() => isSilent() ? turn(audible) : Effect.void),
    connectUnsafe: (identity, address) => {
      const connection = Connection.make({
        identity,
        address,
        isSilent,
        onClosed: (connection) => connections.delete(connection)
      })
      connections.add(connection)
      return connection
    },
    disconnectUnsafe: (address) => {
      for (const connection of [...connections]) {
        if (connection.address === address) connection.server.closeUnsafe()
      }
    },
    set: (next) =>
      Effect.sync(() => {
        const isLosing = isSilent()
        state = next
        if (isSilent()) audible.closeUnsafe()
        else audible.openUnsafe()
        for (const connection of connections) {
          if (next === "cut") connection.cutUnsafe(isLosing)
          else connection.updateUnsafe()
        }
      })
  }
}
