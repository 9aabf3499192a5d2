/**
 * The least that requests over ZeroMQ cost: what is in flight as two messages of bytes, which nobody reads, so that both sides work.
 */
import * as Zmq from "zeromq"
import type * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

const [requestSize, responseSize] = [40, 12]
let dealer: Zmq.Dealer

const answer = async (router: Zmq.Router) => {
  for await (const [peer, bytes] of router) {
    await router.send([peer!, Buffer.alloc(bytes!.length / requestSize * responseSize, "x")])
  }
}

const functions = {
  bind: async () => {
    const router = new Zmq.Router()
    await router.bind("tcp://127.0.0.1:*")
    void answer(router)
    return router.lastEndpoint!
  },
  connect: (endpoint: string): void => {
    dealer = new Zmq.Dealer()
    dealer.connect(endpoint)
  },
  /** So many in flight, for so long. */
  request: async (width: number, milliseconds: number): Promise<Pace.Done> => {
    const started = performance.now()
    const messages = Math.min(2, width)
    const each = width / messages
    const bytes = Buffer.alloc(each * requestSize, "x")
    let received = 0
    for (let sent = 0; sent < messages; sent++) await dealer.send(bytes)
    for (; performance.now() - started < milliseconds; received++) {
      await dealer.receive()
      await dealer.send(bytes)
    }
    for (let left = messages; left > 0; left--, received++) await dealer.receive()
    return { operations: received * each, seconds: (performance.now() - started) / 1000 }
  }
}

export type Functions = typeof functions
Role.serve(functions)
