/**
 * Attacks on the port of browsers by those that never become one.
 */
import { upgrade } from "../../harness/RawWebSocket.ts"
import { address, again, alive, type Attack, browser, many, portOf, push, say, tcp } from "../stranger.ts"

export const refusedUpgrades: Attack = {
  name: "refused upgrades",
  sentence: "ask for paths that do not exist and for other protocols, and keep the answered connections open",
  expelled: true,
  run: ({ websocket }) => {
    const port = portOf(websocket)
    return again(20, (turn) =>
      many(4, (n) => {
        const socket = tcp(port, address(turn))
        socket.write(
          [
            upgrade("/nope"),
            upgrade("/test", { Upgrade: "h2c" }),
            upgrade("/test", { "Sec-WebSocket-Version": "9" }),
            upgrade("/test", { Origin: "https://elsewhere.example" })
          ][n]!
        )
      }))
  }
}

export const slowRequests: Attack = {
  name: "slow requests",
  sentence: "send the head of a request byte by byte and never end it",
  expelled: true,
  run: async ({ websocket }) => {
    const sockets = await many(300, (n) => {
      const socket = tcp(portOf(websocket), address(n))
      socket.write("GET /test HTTP/1.1\r\nHost: 127.0.0.1\r\n")
      return socket
    })
    return again(200, () => sockets.forEach((socket) => push(socket, "X")))
  }
}

export const floodFromOneAddress: Attack = {
  name: "flood from one address",
  sentence: "connect as many browsers as possible from one address, again and again",
  run: async (target) => {
    const open = new Set<object>()
    return again(20, () =>
      many(open.size < 1500 ? 40 : 0, async () => {
        const socket = alive(await browser(target))
        open.add(socket)
        socket.on("close", () => open.delete(socket))
      }))
  }
}

export const floodFromManyAddresses: Attack = {
  name: "flood from many addresses",
  sentence: "connect more browsers than the broker has descriptors",
  run: async (target) => {
    const open = new Set<object>()
    return again(20, () =>
      many(open.size < 3000 ? 100 : 0, async (n) => {
        const socket = alive(await browser(target, [], address(n)))
        open.add(socket)
        socket.on("close", () => open.delete(socket))
      }))
  }
}

export const vanished: Attack = {
  name: "vanished browsers",
  ends: true,
  sentence: "subscribe and then never answer a ping, as behind a proxy that has lost its browser",
  expelled: true,
  run: async (target) => {
    const subscribe = say({ subscribe: { channel: "room" } })
    await many(200, (n) => browser(target, [subscribe], address(n)))
  }
}
