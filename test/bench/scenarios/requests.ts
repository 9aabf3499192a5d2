/**
 * Requests a second with a response from a worker, by one browser or one Client. Socket.IO has no workers: there the server
 * itself responds, or passes the request on to another of its clients.
 */
import type * as FloorParty from "../floors/workers.ts"
import { type Bench, type Contestant, floor as floorName, perSecond, rate, zeromqMessages } from "../harness/Bench.ts"
import { type AnyParty, type Party, start, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as CallersParty from "../parties/callers.ts"
import type * as SocketIoParty from "../parties/socketIo.ts"
import type * as WorkerParty from "../parties/worker.ts"

export const run = async (bench: Bench): Promise<void> => {
  const [own, ownTcp, socketIo, zeromq, floor] = await Promise.all([
    startOwn("zmq"),
    startOwn("tcp"),
    startSocketIo(),
    startFloor(zeromqMessages),
    startFloor(floorName)
  ])
  for (const width of [64, 1]) {
    await bench.compare(`${width} in flight`, [rate("requests")], [
      ...own.contestants(width),
      ...ownTcp.contestants(width),
      ...socketIo.contestants(width),
      zeromq.contestant(width),
      floor.contestant(width)
    ], width === 1 ? { uncounted: untilCompiled, rounds: 2 * bench.rounds - 1 } : { warmUps: 7 })
  }
  await stopAll(own, ownTcp, socketIo, zeromq, floor)
}

/** With one in flight it takes this many rounds, some ten thousand requests of each kind, until all that runs then is compiled. */
const untilCompiled = 6

interface Caller {
  readonly name: string
  readonly peer?: boolean
  readonly callers: Party<CallersParty.Functions>
  readonly number: number
}

const contestantsOf = (callers: ReadonlyArray<Caller>, others: Readonly<Record<string, AnyParty>>) => (width: number) =>
  callers.map(({ callers, name, number, peer = false }): Contestant => ({
    name,
    peer,
    parties: { caller: callers, ...others },
    run: async (milliseconds) => perSecond(await callers.call("request", number, width, milliseconds))
  }))

const startOwn = async (transport: "zmq" | "tcp") => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", [])
  const tokens = await broker.call("tokens", 3)
  const worker = await start<WorkerParty.Functions>("worker")
  await worker.call("respond", urls[transport])
  const url = `ws://127.0.0.1:${urls.browsers.port}${urls.browsers.path}`
  const callers: Array<Caller> = []
  const add = async (name: string, connect: (callers: Party<CallersParty.Functions>) => Promise<number>) => {
    const own = await start<CallersParty.Functions>("callers")
    callers.push({ name, callers: own, number: await connect(own) })
  }
  const name = { zmq: "ZeroMQ", tcp: "TCP" }[transport]
  await add(`Messages over ws, worker over ${name}`, (callers) => callers.call("raw", url, tokens[0]!))
  await add(`The script, worker over ${name}`, (callers) => callers.call("script", url, tokens[1]!))
  await add(`kosmonaut/browser, worker over ${name}`, (callers) => callers.call("browser", url, tokens[2]!))
  await add(`A Client and a worker over ${name}`, (callers) => callers.call("client", urls[transport]))
  return {
    contestants: contestantsOf(callers, { broker, worker }),
    stop: () => stopAll(...callers.map(({ callers }) => callers), worker, broker)
  }
}

const startSocketIo = async () => {
  const server = await start<SocketIoParty.Functions>("socketIo")
  const { port } = await server.call("address")
  const url = `http://127.0.0.1:${port}`
  const worker = await start<CallersParty.Functions>("callers")
  await worker.call("socketIoWorker", url)
  const callers = await start<CallersParty.Functions>("callers")
  const direct = await callers.call("socketIo", url, "echo")
  const passedOn = await callers.call("socketIo", url, "pass")
  const peer = (name: string, number: number, others: Readonly<Record<string, AnyParty>>) =>
    contestantsOf([{ name, peer: true, callers, number }], others)
  const both = [
    peer("Socket.IO with a worker", passedOn, { broker: server, worker }),
    peer("Socket.IO", direct, { broker: server })
  ]
  return {
    contestants: (width: number) => both.flatMap((contestants) => contestants(width)),
    stop: () => stopAll(callers, worker, server)
  }
}

const startFloor = async (name: typeof floorName | typeof zeromqMessages) => {
  const party = () => start<FloorParty.Functions>("../floors/workers")
  const [relay, worker, caller] = await Promise.all([party(), party(), party()])
  const ports = await relay.call("relay", name === zeromqMessages)
  await worker.call("work", ports.workers)
  await caller.call("connect", ports.callers)
  return {
    contestant: (width: number): Contestant => ({
      name,
      peer: true,
      parties: { caller, broker: relay, worker },
      run: async (milliseconds) => perSecond(await caller.call("request", width, milliseconds))
    }),
    stop: () => stopAll(caller, worker, relay)
  }
}
