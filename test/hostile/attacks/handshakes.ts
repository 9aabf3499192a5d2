/**
 * Attacks by strangers who begin to encrypt. The canary's own connections are encrypted, too.
 */
import { Effect } from "effect"
import type * as Net from "node:net"
import * as CurveKeys from "../../../src/transport/CurveKeys.ts"
import * as CurveServer from "../../../src/transport/CurveServer.ts"
import * as Zmtp from "../../../src/transport/internal/zmtp.ts"
import * as CurveClient from "../../harness/CurveClient.ts"
import * as TlsHello from "../../harness/TlsHello.ts"
import { address, again, type Attack, many, portOf, push, settled, type Target, tcp } from "../stranger.ts"

/** What a CURVE client sends first: its greeting, and `HELLO`. */
const curveHello = async ({ serverKey }: Target): Promise<Buffer> => {
  const { cipher } = await Effect.runPromise(Effect.flatMap(CurveKeys.generate, CurveServer.make))
  const hello = CurveClient.make({ cipher, publicKey: Buffer.from(serverKey!, "hex") }).hello()
  return Buffer.concat([Zmtp.curveGreeting, Zmtp.encodeCommand("HELLO", hello)])
}

/** What begins a handshake, and where: at each port of the broker. It costs nothing to send the same again. */
const beginningsOf = async (
  target: Target
): Promise<ReadonlyArray<{ readonly port: number; readonly hello: Buffer }>> => {
  const [tls, curve] = [await TlsHello.make(), await curveHello(target)]
  const [browsers, zmq, classic] = [target.websocket, target.backend, target.backendTcp].map(portOf) as [
    number,
    number,
    number
  ]
  return [{ port: browsers, hello: tls }, { port: zmq, hello: curve }, { port: classic, hello: tls }]
}

export const stalled: Attack = {
  name: "handshakes that stall",
  sentence:
    "open connections without end to encrypted ports, and send nothing, half of a handshake's beginning, or all of it",
  encrypted: true,
  expelled: true,
  run: async (target) => {
    const beginnings = await beginningsOf(target)
    const open = new Set<Net.Socket>()
    return again(20, () =>
      many(open.size < 1500 ? 100 : 0, (n) => {
        const { hello, port } = beginnings[n % 3]!
        const socket = tcp(port, address(n))
        open.add(socket.on("close", () => open.delete(socket)))
        push(socket, hello.subarray(0, Math.ceil(hello.length * (n % 4) / 3)))
      }))
  }
}

export const atOnce: Attack = {
  name: "handshakes at once",
  sentence: "begin hundreds of handshakes in the same moment, again and again",
  encrypted: true,
  run: async (target) => {
    const beginnings = await beginningsOf(target)
    return again(100, async () => {
      const sockets = await many(600, async (n) => {
        const { hello, port } = beginnings[n % 3]!
        const socket = tcp(port, address(n))
        await settled(socket)
        return { socket, hello }
      })
      for (const { hello, socket } of sockets) push(socket, hello)
      setTimeout(() => sockets.forEach(({ socket }) => socket.destroy()), 500)
    })
  }
}
