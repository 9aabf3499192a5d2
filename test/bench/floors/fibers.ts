/**
 * The least that a request costs which is an Effect and is understood: a fiber that waits, an id by which its response is found, JSON that
 * is written and parsed, a channel that is looked up, and as few writes as turns. No token, no metric, no deadline, no check.
 */
import { Effect, Exit } from "effect"
import * as Net from "node:net"
import * as Fibers from "../harness/fibers.ts"
import type * as Pace from "../harness/pace.ts"
import { lines } from "../harness/pieces.ts"
import * as Role from "../harness/role.ts"

const data = { what: "world" }
const channels = new Map([["room", 0]])
const waiting = new Map<string, (exit: Exit.Exit<void>) => void>()
let socket: Net.Socket

/** Writes what comes in one turn at once. */
const makeWrite = (to: Net.Socket) => {
  let unsent = ""
  const flush = () => {
    to.write(unsent)
    unsent = ""
  }
  return (line: string): void => {
    if (unsent === "") queueMicrotask(flush)
    unsent += line
  }
}

const serve = (peer: Net.Socket): void => {
  const write = makeWrite(peer.setEncoding("utf8"))
  peer.on(
    "data",
    lines((line) => {
      const [id, , channel, , json] = line.split(" ")
      JSON.parse(json!)
      if (channels.has(channel!)) write(`${id} AK\n`)
    })
  )
}

const functions = {
  bind: () =>
    new Promise<number>((resolve) => {
      const server = Net.createServer(serve)
      server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
    }),
  connect: (port: number): void => {
    socket = Net.connect({ port, host: "127.0.0.1", noDelay: true }).setEncoding("utf8")
    socket.on(
      "data",
      lines((line) => {
        const id = line.slice(0, line.indexOf(" "))
        const resume = waiting.get(id)!
        waiting.delete(id)
        resume(Exit.void)
      })
    )
  },
  /** From so many fibers, each waiting for its response, for so long. */
  request: (fibers: number, milliseconds: number): Promise<Pace.Done> => {
    const write = makeWrite(socket)
    let count = 0
    const request = Effect.callback<void>((resume) => {
      const id = (++count).toString(36)
      waiting.set(id, resume)
      write(`${id} BC room hello ${JSON.stringify(data)}\n`)
    })
    return Fibers.request(fibers, milliseconds, request)
  }
}

export type Functions = typeof functions
Role.serve(functions)
