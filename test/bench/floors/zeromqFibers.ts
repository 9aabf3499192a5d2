/**
 * The least that a request over ZeroMQ costs which is an Effect: a fiber that waits, its data as JSON, and what is in flight as two
 * messages, so that both sides work. No token, no metric, no deadline, no check, and a response that nobody reads.
 */
import { Effect, Exit } from "effect"
import * as Zmq from "zeromq"
import * as Fibers from "../harness/fibers.ts"
import type * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

const data = { what: "world" }
const requestOf = (): string => `BC room hello ${JSON.stringify(data)}\n`
const [requestSize, responseSize] = [requestOf().length, 12]
let dealer: Zmq.Dealer

const answer = async (router: Zmq.Router) => {
  for await (const [peer, bytes] of router) {
    await router.send([peer!, Buffer.alloc(bytes!.length / requestSize * responseSize, "x")])
  }
}

/** Sends what is wanted in one step, or half of all that may be in flight. */
const makeOutbox = (half: number) => {
  let [unsent, count] = ["", 0]
  let sending = Promise.resolve()
  const flush = () => {
    if (count === 0) return
    const text = unsent
    unsent = ""
    count = 0
    sending = sending.then(() => dealer.send(text))
  }
  return (request: string): void => {
    if (count === 0) queueMicrotask(flush)
    unsent += request
    if (++count === half) flush()
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
  /** From so many fibers, each waiting for its response, for so long. */
  request: async (fibers: number, milliseconds: number): Promise<Pace.Done> => {
    const waiting: Array<(exit: Exit.Exit<void>) => void> = []
    const send = makeOutbox(Math.ceil(fibers / 2))
    let sent = 0
    const request = Effect.callback<void>((resume) => {
      send(requestOf())
      waiting.push(resume)
      sent++
    })
    const done = Fibers.request(fibers, milliseconds, request)
    for (let received = 0; received < sent;) {
      const [bytes] = await dealer.receive()
      const pieces = bytes!.length / responseSize
      received += pieces
      for (const resume of waiting.splice(0, pieces)) resume(Exit.void)
    }
    return done
  }
}

export type Functions = typeof functions
Role.serve(functions)
