/**
 * The server's end of WebSockets, byte by byte: it can send frames that no WebSocket server would.
 */
import { Effect } from "effect"
import * as Crypto from "node:crypto"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"

/** A connection of a browser. What it sends is ignored, but for its end. */
export interface Peer {
  /** Sends a text. */
  readonly send: (text: string) => void
  /** Sends a frame with this opcode. */
  readonly frame: (opcode: number, payload: Buffer) => void
  /** Sends a close frame with any code, and ends the connection. */
  readonly close: (code: number) => void
  readonly end: () => void
}

/** Listens until the scope ends, and does this with each connection; `number` counts them from 1. */
export const make = Effect.fnUntraced(function*(onPeer: (peer: Peer, number: number) => void) {
  const sockets = new Set<Duplex>()
  let count = 0
  const server = Http.createServer((_, response) => response.writeHead(404).end())
  server.on("upgrade", ({ headers }, socket: Duplex) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket)).on("error", () => {})
    // It has sent its last frame.
    socket.on("data", (data: Buffer) => data.at(-8) === 0x88 && data.at(-7) === 0x82 && socket.end())
    const accept = Crypto.createHash("sha1")
      .update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64")
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
    )
    onPeer(peerOf(socket), ++count)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        sockets.forEach((socket) => socket.destroy())
      })
  )
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/test`,
    /** How many connections there were. */
    count: () => count,
    open: () => sockets.size
  }
})

const peerOf = (socket: Duplex): Peer => {
  const frame = (opcode: number, payload: Buffer) => {
    const length = payload.length
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
    head[0] = 0x80 | opcode
    head[1] = length < 126 ? length : length < 65_536 ? 126 : 127
    if (head.length === 4) head.writeUInt16BE(length, 2)
    if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
    socket.write(Buffer.concat([head, payload]))
  }
  return {
    frame,
    send: (text) => frame(1, Buffer.from(text)),
    close: (code) => {
      const payload = Buffer.alloc(2)
      payload.writeUInt16BE(code)
      frame(8, payload)
      socket.end()
    },
    end: () => socket.destroy()
  }
}
