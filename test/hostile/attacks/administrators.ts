/**
 * Attacks on the port of administrators.
 */
import { Effect } from "effect"
import { address, again, type Attack, many, portOf, push, tcp } from "../stranger.ts"
import { withClient } from "./browsers.ts"

export const administrators: Attack = {
  name: "administrators without the cookie",
  sentence: "ask the admin port without a cookie, with wrong ones, for its readiness, and never end some requests",
  run: ({ admin }) => {
    const port = portOf(admin)
    const wrong = "0123456789abcdef0123456789abcdef01234567"
    return again(20, (turn) =>
      many(8, (n) => {
        const socket = tcp(port, address(turn))
        const head = (method: string, path: string, more = "") =>
          push(socket, `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n`)
        if (n % 4 === 0) head("GET", "/api/v1/vhosts")
        else if (n % 4 === 1) head("GET", "/api/v1/vhosts", `X-WebRocket-Cookie: ${wrong}\r\n`)
        else if (n % 4 === 2) { for (let i = 0; i < 20; i++) head("GET", "/ready") }
        else head("POST", "/api/v1/vhosts", `X-WebRocket-Cookie: ${wrong}\r\nContent-Length: 1000000000\r\n`)
      }))
  }
}

export const tails: Attack = {
  name: "tails that nobody reads",
  sentence: "follow a channel by 200 tails of the admin API and read none, while a backend broadcasts to it",
  run: async (target) => {
    const request = `GET /api/v1/vhosts/%2Ftest/channels/room/tail HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
      `X-WebRocket-Cookie: ${target.cookie}\r\n\r\n`
    await many(200, (n) => {
      const socket = tcp(portOf(target.admin), address(n)).pause()
      socket.write(request)
      return socket
    })
    const data = { text: "x".repeat(10_000) }
    return withClient(target, (client) => Effect.forever(Effect.ignore(client.broadcast("room", "e", data))))
  }
}
