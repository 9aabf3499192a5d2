/**
 * Attacks on the ports of backends by strangers without a token.
 */
import type * as Net from "node:net"
import * as Zmq from "zeromq"
import { address, again, type Attack, many, portOf, push, settled, type Target, tcp } from "../stranger.ts"

const end = "\r\n\r\n"

const identity = (n: number, vhost = "/test", kind = "req", token = "f".repeat(40)) =>
  `${kind}:${vhost}:${token}:${n.toString(16).padStart(8, "0")}-0000-4000-8000-000000000000`

export const squatters: Attack = {
  name: "squatters on TCP",
  sentence: "ask for a connection that is kept without any token, and send empty messages on it",
  expelled: true,
  run: async ({ backendTcp }) => {
    const sockets = await many(200, (n) => {
      const socket = tcp(portOf(backendTcp), address(n))
      socket.write(n % 2 === 0 ? `x\nK1\n${end}` : `${identity(n)}\n\nK1\n${end}`)
      return socket
    })
    return again(50, () => sockets.forEach((socket) => push(socket, end)))
  }
}

export const silentBackends: Attack = {
  name: "silent backends",
  ends: true,
  sentence: "connect to both ports of backends and say nothing, or half of an identity",
  expelled: true,
  run: async (target) => {
    const ports = [portOf(target.backend), portOf(target.backendTcp)]
    await many(300, (n) => {
      const socket = tcp(ports[n % 2]!, address(n))
      if (n % 3 === 0) socket.write("req:/te")
      if (n % 3 === 1) socket.write(Buffer.from([0xff, 0, 0, 0]))
    })
  }
}

export const httpAtBackends: Attack = {
  name: "HTTP at the ports of backends",
  sentence: "speak HTTP and TLS to the ports of backends",
  expelled: true,
  run: (target) => {
    const ports = [portOf(target.backend), portOf(target.backendTcp)]
    return again(20, (turn) =>
      many(4, (n) => {
        const socket = tcp(ports[n % 2]!, address(turn))
        socket.write(
          n < 2
            ? "GET / HTTP/1.1\r\nHost: broker\r\n\r\n"
            : Buffer.from("16030100a5010000a10303" + "00".repeat(200), "hex")
        )
      }))
  }
}

/** ZeroMQ's greeting, and the command that says who one is. */
const greeting = Buffer.concat([
  Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0]),
  Buffer.from("NULL".padEnd(20, "\0")),
  Buffer.alloc(32)
])

const property = (name: string, value: string) => {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(value.length)
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), size, Buffer.from(value)])
}

const hello = (routingId: string) => {
  const ready = Buffer.concat([
    Buffer.from("\u0005READY"),
    property("Socket-Type", "DEALER"),
    property("Identity", routingId)
  ])
  return Buffer.concat([greeting, Buffer.from([4, ready.length]), ready])
}

const dealer = async ({ backend }: Target, routingId: string, n = 0) => {
  const socket = tcp(portOf(backend), address(n))
  await settled(socket)
  socket.write(hello(routingId))
  return socket
}

export const largeMessages: Attack = {
  name: "large messages over ZeroMQ",
  sentence: "send messages of a megabyte under an identity that is none, and read no answer",
  run: async ({ backend }) => {
    const sockets = Array.from({ length: 8 }, () => {
      const socket = new Zmq.Dealer({ linger: 0, sendHighWaterMark: 4 })
      socket.connect(`tcp://127.0.0.1:${portOf(backend)}`)
      return socket
    })
    const message = Buffer.alloc(1_000_000, "x")
    return Promise.all(sockets.map((socket) => again(1, () => socket.send(["", message]))))
  }
}

export const endlessMessages: Attack = {
  name: "endless messages over ZeroMQ",
  sentence: "send a message whose frames never end",
  run: async (target) => {
    const parts = Buffer.concat(Array.from({ length: 1000 }, () => Buffer.from([1, 1, 0x78])))
    let sockets = await many(8, (n) => dealer(target, identity(n), n))
    return again(5, async () => {
      for (const socket of sockets) push(socket, parts)
      sockets = await Promise.all(
        sockets.map(async (socket, n) => socket.destroyed ? dealer(target, identity(n), n) : socket)
      )
    })
  }
}

export const wrongIdentities: Attack = {
  name: "wrong identities",
  sentence: "come over ZeroMQ under ever new identities that open nothing",
  run: (target) =>
    again(20, (turn) =>
      many(3, async (n) => {
        const socket = await dealer(
          target,
          n === 0 ? `x${turn}` : identity(turn * 3 + n, n === 1 ? "/test" : "/no"),
          turn
        )
        socket.write(Buffer.from([1, 0, 0, 2, 0x52, 0x44]))
        setTimeout(() => socket.destroy(), 1000)
      }))
}

export const handovers: Attack = {
  name: "identities taken over",
  sentence:
    "come over ZeroMQ four times at once under the same good identity, again and again, and leave to the broker which to close",
  expelled: true,
  run: (target) =>
    again(50, async (turn) => {
      const who = identity(turn, "/test", turn % 2 === 0 ? "dlr" : "req", target.token)
      const sockets = await many(4, (n) => dealer(target, who, n))
      for (const socket of sockets) socket.write(Buffer.from([1, 0, 0, 2, 0x52, 0x44]))
      // The last one keeps the identity, the broker has to close the others.
      await closed(sockets, 3)
      for (const socket of sockets) socket.destroy()
    })
}

/** Waits until so many connections have ended; fails if they do not. */
const closed = (sockets: ReadonlyArray<Net.Socket>, count: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const ended = () => sockets.filter((socket) => socket.destroyed).length
    const look = () => {
      if (ended() >= count) resolve()
    }
    for (const socket of sockets) socket.once("close", look)
    setTimeout(() => reject(new Error(`only ${ended()} of ${sockets.length} connections were closed`)), 5000).unref()
    look()
  })
