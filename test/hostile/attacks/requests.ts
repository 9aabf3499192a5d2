/**
 * Attacks by browsers of users, with requests for workers that have no response.
 */
import { Effect, Redacted } from "effect"
import type * as Net from "node:net"
import {
  address,
  again,
  alive,
  type Attack,
  browser,
  frame,
  many,
  portOf,
  push,
  say,
  type Target,
  tcp
} from "../stranger.ts"
import { withClient } from "./browsers.ts"

/** Browsers of version 1 that have authenticated, each as a user of its own. */
export const users = async (target: Target, count: number): Promise<Array<Net.Socket>> => {
  const tokens: Array<string> = []
  await withClient(target, (client) =>
    Effect.forEach(
      Array.from({ length: count }, (_, n) => n),
      (n) =>
        Effect.map(client.requestSingleAccessToken(`user-${n}`, ".*"), (token) => tokens.push(Redacted.value(token))),
      { discard: true }
    ))
  return many(
    count,
    async (n) =>
      alive(await browser(target, [say({ auth: { token: tokens[n], client: "c" } })], address(n), "/test?v=1"))
  )
}

/** A batch of requests with new ids. */
const requests = (turn: number, count: number, timeout: number): Buffer =>
  frame(
    1,
    JSON.stringify(Array.from({ length: count }, (_, n) => ({
      request: { event: "chat/x", data: { text: "x".repeat(1000) }, id: turn * count + n, timeout }
    })))
  )

export const requestsWithoutWorker: Attack = {
  name: "requests without a worker",
  sentence: "send requests that no worker takes, as many as the rate allows and more",
  run: async (target) => {
    const sockets = await users(target, 50)
    return again(200, (turn) => sockets.forEach((socket) => push(socket, requests(turn, 50, 1000))))
  }
}

export const requestsWithoutResponse: Attack = {
  name: "requests without a response",
  sentence:
    "send requests to a worker that takes none, with deadlines of a millisecond and of an hour, and cancel some",
  run: async (target) => {
    const worker = tcp(portOf(target.backendTcp))
    const id = "00000000-0000-4000-8000-00000000000a"
    worker.write(`dlr:/test:${target.token}:${id}\n\nRD\nack\n0\n{"responses":true}\n\r\n\r\n`)
    setInterval(() => void worker.write("HB\n\r\n\r\n"), 300)
    const sockets = await users(target, 100)
    return again(200, (turn) =>
      sockets.forEach((socket) => {
        push(socket, requests(turn, 30, turn % 2 === 0 ? 1 : 3_600_000))
        if (turn % 3 === 0) push(socket, say(Array.from({ length: 10 }, (_, n) => ({ cancel: { id: turn * 30 + n } }))))
      }))
  }
}
