/**
 * The least that a request costs which is an Effect: a fiber that waits, its data as JSON, and as few writes as turns. No token, no
 * metric, no deadline, no check, and a response that nobody reads.
 */
import { Effect, Exit } from "effect"
import * as Net from "node:net"
import * as Fibers from "../harness/fibers.ts"
import type * as Pace from "../harness/pace.ts"
import { count } from "../harness/pieces.ts"
import * as Role from "../harness/role.ts"

const data = { what: "world" }
const requestOf = (): string => `BC room hello ${JSON.stringify(data)}\n`
const requestSize = requestOf().length
const responseSize = 12
let socket: Net.Socket

const functions = {
  bind: () =>
    new Promise<number>((resolve) => {
      const server = Net.createServer((peer) => {
        peer.on("data", count(requestSize, (pieces) => peer.write("x".repeat(responseSize * pieces), "latin1")))
      })
      server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
    }),
  connect: (port: number): void => void (socket = Net.connect({ port, host: "127.0.0.1", noDelay: true })),
  /** From so many fibers, each waiting for its response, for so long. */
  request: (fibers: number, milliseconds: number): Promise<Pace.Done> => {
    const waiting: Array<(exit: Exit.Exit<void>) => void> = []
    let unsent = ""
    socket.removeAllListeners("data").on(
      "data",
      count(responseSize, (pieces) => {
        for (const resume of waiting.splice(0, pieces)) resume(Exit.void)
      })
    )
    const flush = () => {
      socket.write(unsent, "latin1")
      unsent = ""
    }
    const request = Effect.callback<void>((resume) => {
      if (unsent === "") queueMicrotask(flush)
      unsent += requestOf()
      waiting.push(resume)
    })
    return Fibers.request(fibers, milliseconds, request)
  }
}

export type Functions = typeof functions
Role.serve(functions)
