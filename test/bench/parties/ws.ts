/**
 * The peer: a server of the `ws` package that does nothing but what is measured, and writes a frame that it has made once
 * to the connections themselves.
 */
import * as Pace from "../harness/pace.ts"
import { load, type Ws, type WsConnection } from "../harness/peers.ts"
import * as Role from "../harness/role.ts"

const payload = Buffer.from(JSON.stringify({ hello: { what: "world", channel: "room" } }))
const frame = Buffer.concat([Buffer.from([0x81, payload.length]), payload])
const channels = new Map<string, Set<WsConnection>>()
const server = new (load<Ws>("ws").WebSocketServer)({ host: "127.0.0.1", port: 0, perMessageDeflate: false })
await new Promise<void>((resolve) => server.on("listening", resolve))
let pace: Pace.Pace | undefined

const functions = {
  address: () => ({ port: server.address().port, path: "/" }),
  /** Puts everybody on so many channels. */
  subscribe: (count: number): void => {
    for (let i = 0; i < count; i++) channels.set(`channel-${i}`, new Set(server.clients))
  },
  /** Writes to all, for so long; so many messages in each turn, if that is given, each a write of its own. */
  fanOut: (receivers: number, window: number, milliseconds: number, together?: number) => {
    pace = Pace.begin(window, milliseconds)
    return Pace.fanOut(pace, receivers, () => {
      for (const { _socket } of server.clients) _socket.write(frame)
    }, together)
  },
  arrived: (more: number): void => pace!.arrived(more)
}

export type Functions = typeof functions
Role.serve(functions)
