/**
 * The peer: Socket.IO, over WebSocket alone, with a room for each channel.
 */
import { createServer } from "node:http"
import * as Pace from "../harness/pace.ts"
import { load, type SocketIo, type SocketIoSocket } from "../harness/peers.ts"
import * as Role from "../harness/role.ts"

const http = createServer()
const io = new (load<SocketIo>("socket.io").Server)(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  pingInterval: 3_600_000
})
let worker: SocketIoSocket | undefined
io.on("connection", (socket) => {
  socket.join("room")
  socket.on("echo", ({ text }, respond) => respond({ text }))
  socket.on("work", (_data, respond) => {
    worker = socket
    respond({})
  })
  socket.on("pass", (data, respond) => void worker!.emitWithAck("echo", data).then(respond))
})
await new Promise<void>((resolve) => void http.listen(0, "127.0.0.1", resolve))
let pace: Pace.Pace | undefined

const functions = {
  address: () => ({
    port: (http.address() as { readonly port: number }).port,
    path: "/socket.io/?EIO=4&transport=websocket"
  }),
  /** Puts everybody into so many rooms. */
  subscribe: (count: number): void => {
    for (let i = 0; i < count; i++) io.socketsJoin(`channel-${i}`)
  },
  /** Emits to the room of all, for so long. */
  fanOut: (receivers: number, window: number, milliseconds: number) => {
    pace = Pace.begin(window, milliseconds)
    return Pace.fanOut(pace, receivers, () => void io.to("room").emit("hello", { what: "world", channel: "room" }))
  },
  arrived: (more: number): void => pace!.arrived(more)
}

export type Functions = typeof functions
Role.serve(functions)
