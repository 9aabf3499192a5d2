/**
 * The broker's own end of a connection, to see what it keeps for it. Node.js tells of every connection that a server of
 * this process accepts.
 */
import { Effect } from "effect"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import type { Socket } from "node:net"

/** Begins to listen. `of` gives the other end of a connection made since; `open` how many of them a port still has. */
export const watch = Effect.acquireRelease(
  Effect.sync(() => {
    const accepted = new Map<number | undefined, Socket>()
    const onSocket = (message: unknown) => {
      const { socket } = message as { readonly socket: Socket }
      const port = socket.remotePort
      accepted.set(port, socket)
      socket.on("close", () => {
        if (accepted.get(port) === socket) accepted.delete(port)
      })
    }
    subscribe("net.server.socket", onSocket)
    return {
      of: (socket: Socket): Socket => {
        const found = accepted.get(socket.localPort)
        if (found === undefined) throw new Error("no server of this process has accepted that connection")
        return found
      },
      open: (port: number) => [...accepted.values()].filter(({ localPort }) => localPort === port).length,
      stop: () => unsubscribe("net.server.socket", onSocket)
    }
  }),
  ({ stop }) => Effect.sync(stop)
)
