/**
 * Connections that are being closed. Each has a deadline, whatever its peer does, and their number is bounded.
 */

import { constVoid } from "effect/Function"
import type { Socket } from "node:net"
import { closeTimeout } from "./connection.ts"

/** The connections that are being closed. */
export interface Closing {
  /** Ends a connection within `closeTimeout`. Input is dropped meanwhile. */
  readonly add: (socket: Socket) => void
  readonly destroyAll: () => void
}

/** The limit of these connections. Beyond it the oldest is destroyed. */
const most = 256

/** Makes an empty set. */
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
