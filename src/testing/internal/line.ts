/**
 * What all connections of a network in memory run over: it is good, cut or silent, for all of them alike.
 */

import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Connection from "./connection.ts"
import { turn } from "./pipe.ts"

/** The line of a network, and the connections on it. */
export interface Line {
  readonly isCut: () => boolean
  /** Waits while it is silent. */
  readonly audible: Effect.Effect<void>
  /** Makes a connection from `identity` to the server at `address`, for one message of this name where it has one. */
  readonly connectUnsafe: (identity: string, message: string, address: string) => Connection.Connection
  /** Closes the server's ends of all connections to `address`. */
  readonly hangUpUnsafe: (address: string) => void
  /** Makes it good, cut or silent. */
  readonly become: (state: State) => Effect.Effect<void>
}

/** How a line can be. */
type State = "good" | "cut" | "silent"

/** Makes a good line. */
export const make = (): Line => {
  let state: State = "good"
  const audible = Latch.makeUnsafe(true)
  const connections = new Set<Connection.Connection>()
  const isSilent = () => state === "silent"

  return {
    isCut: () => state === "cut",
    audible: Effect.suspend(() => isSilent() ? turn(audible) : Effect.void),
    connectUnsafe: (identity, message, address) => {
      const connection = Connection.make({
        identity,
        message,
        address,
        isSilent,
        onClosed: (connection) => connections.delete(connection)
      })
      connections.add(connection)
      return connection
    },
    hangUpUnsafe: (address) => {
      for (const connection of [...connections]) {
        if (connection.address === address) connection.server.closeUnsafe()
      }
    },
    become: (next) =>
      Effect.sync(() => {
        const losing = isSilent()
        state = next
        if (isSilent()) audible.closeUnsafe()
        else audible.openUnsafe()
        for (const connection of connections) {
          if (next === "cut") connection.breakUnsafe(losing)
          else connection.lineChangedUnsafe()
        }
      })
  }
}
