/**
 * Connections that have been answered and are to end: each has a deadline, whatever its peer does, and there are never
 * many of them.
 */

import { constVoid } from "effect/Function"
import type { Socket } from "node:net"
import { closeTimeout } from "./connection.ts"

/** Connections that are to end. */
export interface Closing {
  /** Ends a connection within `closeTimeout`; what its peer still sends is dropped meanwhile. */
  readonly add: (socket: Socket) => void
  readonly destroyAll: () => void
}

/** How many may wait for their end. Beyond it the one that has waited for longest is destroyed. */
const most = 256

/** Nobody yet. */
export const make = (): Closing => {
  const sockets = new Set<Socket>()
  return {
    add: (socket) => {
      if (socket.destroyed) return
      for (const oldest of sockets) {
        if (sockets.size < most) break
        sockets.delete(oldest)
        oldest.destroy()
      }
      sockets.add(socket)
      const timer = setTimeout(() => socket.destroy(), closeTimeout)
      socket.on("error", constVoid)
      socket.on("close", () => {
        clearTimeout(timer)
        sockets.delete(socket)
      })
      socket.resume()
    },
    destroyAll: () => sockets.forEach((socket) => socket.destroy())
  }
}
