/**
 * The peer: zeromq.js without anything around it, one message per request or event, of the frames that our protocol has.
 */
import * as Zmq from "zeromq"
import * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

const unbounded = { sendHighWaterMark: 100_000, receiveHighWaterMark: 100_000 }
const data = JSON.stringify({ what: "world" })
const counter = Role.makeCounter()
counter.tellEvery(250)
let router: Zmq.Router
let dealer: Zmq.Dealer
let pace: Pace.Pace | undefined

const requestOf = (id: number) => [String(id), "", "BC", "room", "hello", data]

const answer = async () => {
  for (;;) {
    const [peer, id] = await router.receive()
    await router.send([peer!, id!, "", "OK"])
  }
}

const countAll = async () => {
  for (;;) {
    await dealer.receive()
    counter.add(1)
  }
}

const acknowledgeAll = async () => {
  for (;;) {
    const [, , , id] = await dealer.receive()
    await dealer.send(["", "AK", id!])
  }
}

const heedAll = async () => {
  for (;;) {
    await router.receive()
    pace!.arrived(1)
  }
}

const functions = {
  /** A ROUTER that answers whatever comes, or nothing. */
  bind: async (answers: boolean) => {
    router = new Zmq.Router(unbounded)
    await router.bind("tcp://127.0.0.1:*")
    if (answers) void answer()
    return router.lastEndpoint!
  },
  /** A DEALER. */
  connect: (endpoint: string): void => {
    dealer = new Zmq.Dealer(unbounded)
    dealer.connect(endpoint)
  },
  /** So many requests in flight, for so long. */
  request: async (width: number, milliseconds: number): Promise<Pace.Done> => {
    const started = performance.now()
    let asked = 0
    let operations = 0
    while (asked < width) await dealer.send(requestOf(asked++))
    while (operations < asked) {
      await dealer.receive()
      operations++
      if (performance.now() - started < milliseconds) await dealer.send(requestOf(asked++))
    }
    return { operations, seconds: (performance.now() - started) / 1000 }
  },
  /** So many requests a second, answered or not. */
  openLoop: async (perSecond: number, milliseconds: number): Promise<Pace.Latencies> => {
    const pending = new Map<string, () => void>()
    let waiting: Array<number> = []
    let sending = false
    let ids = 0
    // Only one send at a time.
    const send = async () => {
      sending = true
      while (waiting.length > 0) {
        const some = waiting
        waiting = []
        for (const id of some) await dealer.send(requestOf(id))
      }
      sending = false
    }
    let total = Math.floor(perSecond * milliseconds / 1000)
    const receive = async () => {
      while (total-- > 0) {
        const id = String((await dealer.receive())[0])
        pending.get(id)!()
        pending.delete(id)
      }
    }
    void receive()
    return Pace.openLoop(perSecond, milliseconds, (answered) => {
      pending.set(String(ids), answered)
      waiting.push(ids++)
      if (!sending) void send()
    })
  },
  /** Connects to who pushes, and counts what comes, or acknowledges it. */
  pull: async (endpoint: string, acknowledges: boolean) => {
    functions.connect(endpoint)
    await dealer.send(["", "RD"])
    void (acknowledges ? acknowledgeAll() : countAll())
  },
  /** From now on what is acknowledged has arrived. */
  heed: async (workers: number) => {
    while (peers.length < workers) peers.push((await router.receive())[0]!)
    void heedAll()
  },
  /** Pushes events to so many DEALERs in turn, no farther ahead of them than `window`. */
  push: async (workers: number, json: string, window: number, milliseconds: number): Promise<Pace.Done> => {
    while (peers.length < workers) peers.push((await router.receive())[0]!)
    const current = pace = Pace.begin(window, milliseconds)
    for (let i = 0; !current.isOver(); i++) {
      if (!current.isOpen()) await current.opened()
      await router.send([peers[i % workers]!, "", "TR", json, String(i), "1", origin])
      current.made(1)
      // Sending does not let the event loop turn, and what has arrived is to be heard.
      if (i % 500 === 0) await new Promise<void>((resume) => void setImmediate(resume))
    }
    return current.done()
  },
  arrived: (more: number): void => pace!.arrived(more)
}

const peers: Array<Buffer> = []
const origin = JSON.stringify({ sid: "00000000-0000-4000-8000-000000000000", uid: "joe" })

export type Functions = typeof functions
Role.serve(functions)
