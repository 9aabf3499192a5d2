/**
 * A TCP proxy before a port of this machine, which cuts a connection at a moment that a test chooses.
 */
import { Effect } from "effect"
import * as Net from "node:net"

/** Listens on a free port for the scope. */
export const make = Effect.fnUntraced(function*(target: number) {
  let cutAt: "request" | "answer" | undefined
  let cuts = 0
  const sockets = new Set<Net.Socket>()
  const cut = (...ends: ReadonlyArray<Net.Socket>) => {
    cutAt = undefined
    cuts++
    for (const end of ends) end.destroy()
  }
  const server = Net.createServer((client) => {
    const broker = Net.connect({ host: "127.0.0.1", port: target, noDelay: true })
    const ends = [client, broker]
    for (const end of ends) {
      sockets.add(end)
      end.on("error", () => undefined)
      end.on("close", () => {
        sockets.delete(end)
        for (const other of ends) other.destroy()
      })
    }
    client.on("data", (chunk) => cutAt === "request" ? cut(...ends) : broker.write(chunk))
    broker.on("data", (chunk) => cutAt === "answer" ? cut(...ends) : client.write(chunk))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
  return {
    port: (server.address() as Net.AddressInfo).port,
    /** Cuts the connection on which the next request or answer comes, and loses that. */
    cutAtNext: (what: "request" | "answer") => {
      cutAt = what
    },
    /** How many were cut. */
    cuts: () => cuts
  }
})
