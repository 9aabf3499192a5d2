/**
 * The least that a request to a worker costs: lines of JSON between three processes, with an id from one who asks to a relay, and
 * one from there to a worker, over TCP or as messages of ZeroMQ. Nothing is checked, queued or acknowledged.
 */
import * as Net from "node:net"
import { Pair } from "zeromq"
import * as Pace from "../harness/pace.ts"
import * as Pieces from "../harness/pieces.ts"
import * as Role from "../harness/role.ts"

interface Line {
  readonly id: number
  readonly data: { readonly text: string }
}

type Send = (line: Line) => void
type Hear = (line: Line, send: Send) => void

/** Reads lines, and gives the way back. */
const lines = (socket: Net.Socket, hear: Hear): Send => {
  const send: Send = (line) => void socket.write(`${JSON.stringify(line)}\n`)
  const read = Pieces.lines((line) => hear(JSON.parse(line) as Line, send))
  socket.setNoDelay(true).setEncoding("utf8").on("data", read)
  return send
}

/** The same over ZeroMQ, where a message is sent after the one before. */
const messages = (socket: Pair, hear: Hear): Send => {
  let sent = Promise.resolve()
  const send: Send = (line) => void (sent = sent.then(() => socket.send(JSON.stringify(line))))
  const read = async () => {
    for await (const [text] of socket) hear(JSON.parse(String(text)) as Line, send)
  }
  void read()
  return send
}

const listen = (hear: (socket: Net.Socket) => void) =>
  new Promise<number>((resolve) => {
    const server = Net.createServer(hear)
    server.listen(0, "127.0.0.1", () => resolve((server.address() as Net.AddressInfo).port))
  })

const connect = (port: number) =>
  new Promise<Net.Socket>((resolve) => {
    const socket = Net.connect({ port, host: "127.0.0.1" }, () => resolve(socket))
  })

const pending = new Map<number, (line: Line) => void>()
let ids = 0
let ask: Send

/** Sends it with an id of its own, and calls `answered` with what comes back for that. */
const request = (send: Send, data: Line["data"], answered: (line: Line) => void): void => {
  pending.set(++ids, answered)
  send({ id: ids, data })
}

const hearAnswer = (line: Line): void => {
  pending.get(line.id)!(line)
  pending.delete(line.id)
}

const respond: Hear = ({ data: { text }, id }, send) => send({ id, data: { text } })

let work: Send

/** Waits for a worker, over TCP or over ZeroMQ, and gives where. */
const listenForWorkers = async (isZeromq: boolean): Promise<number | string> => {
  if (!isZeromq) return listen((socket) => void (work = lines(socket, hearAnswer)))
  const pair = new Pair()
  await pair.bind("tcp://127.0.0.1:*")
  work = messages(pair, hearAnswer)
  return pair.lastEndpoint!
}

const functions = {
  relay: async (isZeromq: boolean) => ({
    workers: await listenForWorkers(isZeromq),
    callers: await listen((socket) =>
      void lines(socket, ({ data, id }, send) => request(work, data, (answer) => send({ ...answer, id })))
    )
  }),
  work: async (at: number | string): Promise<void> => {
    if (typeof at === "number") return void lines(await connect(at), respond)
    const pair = new Pair()
    pair.connect(at)
    messages(pair, respond)
  },
  connect: async (port: number): Promise<void> => void (ask = lines(await connect(port), hearAnswer)),
  /** Keeps so many in flight, for so long. */
  request: (width: number, milliseconds: number): Promise<Pace.Done> =>
    Pace.request(width, milliseconds, () => new Promise((resolve) => request(ask, { text: "hello" }, resolve)))
}

export type Functions = typeof functions
Role.serve(functions)
