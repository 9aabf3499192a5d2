/**
 * The least that events cost a broker and a worker over TCP: bytes of browsers that go on to a worker, and bytes of its acks. Nobody reads
 * them.
 */
import * as Net from "node:net"
import * as Role from "../harness/role.ts"

/** As many bytes as a delivery and its ack have. */
const delivery = Buffer.alloc(110, "x")
const ack = Buffer.alloc(12, "x")
const workers: Array<Net.Socket> = []
const counter = Role.makeCounter()
counter.tellEvery(250)

const listen = (hear: (socket: Net.Socket) => void) =>
  new Promise<number>((resolve) => {
    const server = Net.createServer(hear)
    server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
  })

const many = (piece: Buffer, pieces: number): Buffer => Buffer.alloc(piece.length * pieces, piece)

const functions = {
  /** A broker for browsers whose frames have this size. */
  relay: async (size: number) => {
    let turn = 0
    const browsers = await listen((socket) => {
      let bytes = -1
      socket.on("data", (chunk) => {
        // Whatever was asked.
        if (bytes === -1) return void (bytes = 0, socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
        bytes += chunk.length
        workers[turn++ % workers.length]!.write(many(delivery, Math.floor(bytes / size)))
        bytes %= size
      })
    })
    const backends = await listen((socket) => void workers.push(socket.on("data", () => {})))
    return { browsers, backends }
  },
  /** A worker that counts, and acknowledges. */
  work: (port: number) =>
    new Promise<void>((resolve) => {
      const socket = Net.connect({ port, host: "127.0.0.1", noDelay: true }, resolve)
      let bytes = 0
      socket.on("data", (chunk) => {
        bytes += chunk.length
        const pieces = Math.floor(bytes / delivery.length)
        bytes %= delivery.length
        counter.add(pieces)
        socket.write(many(ack, pieces))
      })
    })
}

export type Functions = typeof functions
Role.serve(functions)
