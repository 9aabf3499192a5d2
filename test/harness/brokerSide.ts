/**
 * The broker's own end of a connection, to see what the broker holds for it. Node.js reports every connection that a server of
 * this process accepts.
 */
import { Effect } from "effect"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import type { Socket } from "node:net"

/** Watches from now on. `of` returns the other end of a connection made since; `open` the number of them that a port still has. */
export const watch = Effect.acquireRelease(
  Effect.sync(() => {
    const accepted = new Map<number | undefined, Socket>()
    const onSocket = (message: unknown) => {
      const { socket } = message as { readonly socket: Socket }
      accepted.set(socket.remotePort, socket)
    }
    subscribe("net.server.socket", onSocket)
    return {
      of: (socket: Socket): Socket => {
        const found = accepted.get(socket.localPort)
        if (found === undefined) throw new Error("no server of this process has accepted that connection")
        return found
      },
      open: (port: number) =>
        [...accepted.values()].filter(({ closed, localPort }) => !closed && localPort === port).length,
      stop: () => unsubscribe("net.server.socket", onSocket)
    }
  }),
  ({ stop }) => Effect.sync(stop)
)

/** Keeps the broker's end of a connection open, however long its peer takes to read, until the result is called. */
export const holdOpen = (socket: Socket) => {
  let isDue = false
  socket.destroy = () => {
    isDue = true
    return socket
  }
  return () => {
    delete (socket as Partial<Socket>).destroy
    if (isDue) socket.destroy()
  }
}
