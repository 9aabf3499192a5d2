/**
 * The least that requests over TCP cost: bytes there and bytes back, as many as those of a broadcast and its response. Nobody reads them.
 */
import * as Net from "node:net"
import * as Pace from "../harness/pace.ts"
import { count } from "../harness/pieces.ts"
import * as Role from "../harness/role.ts"

const request = Buffer.alloc(40, "x")
const response = Buffer.alloc(12, "x")
let socket: Net.Socket

const many = (piece: Buffer, pieces: number): Buffer => Buffer.alloc(piece.length * pieces, piece)

const functions = {
  bind: () =>
    new Promise<number>((resolve) => {
      const server = Net.createServer((peer) => {
        peer.on("data", count(request.length, (pieces) => peer.write(many(response, pieces))))
      })
      server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
    }),
  connect: (port: number): void => void (socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })),
  /** So many in flight, for so long. */
  request: (width: number, milliseconds: number) =>
    new Promise<Pace.Done>((resolve) => {
      const started = performance.now()
      let [sent, operations] = [0, 0]
      const send = (pieces: number) => {
        sent += pieces
        socket.write(many(request, pieces))
      }
      socket.removeAllListeners("data").on(
        "data",
        count(response.length, (pieces) => {
          operations += pieces
          if (performance.now() - started < milliseconds) return send(pieces)
          if (operations === sent) resolve({ operations, seconds: (performance.now() - started) / 1000 })
        })
      )
      send(width)
    }),
  /** So many a second, answered or not; those of a moment are one write. */
  openLoop: (perSecond: number, milliseconds: number) => {
    const waiting: Array<() => void> = []
    let [unsent, first] = [0, 0]
    socket.removeAllListeners("data").on(
      "data",
      count(response.length, (pieces) => {
        for (let i = 0; i < pieces; i++) waiting[first++]!()
      })
    )
    return Pace.openLoop(perSecond, milliseconds, (answered) => {
      waiting.push(answered)
      if (unsent++ > 0) return
      queueMicrotask(() => {
        socket.write(many(request, unsent))
        unsent = 0
      })
    })
  }
}

export type Functions = typeof functions
Role.serve(functions)
