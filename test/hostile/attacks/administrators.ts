/**
 * Attacks on the port of administrators.
 */
import { address, again, type Attack, many, portOf, push, tcp } from "../stranger.ts"

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
