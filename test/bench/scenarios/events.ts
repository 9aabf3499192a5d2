/**
 * Events a second, from browsers in a process of their own to the handlers of workers, no more than 8000 under way.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { BrokerConfig } from "../../../src/server/index.ts"
import type * as FloorParty from "../floors/events.ts"
import { type Bench, type Contestant, floor as floorName, perSecond, rate, toOneWorker } from "../harness/Bench.ts"
import { type Party, start, stopAll } from "../harness/party.ts"
import type { Functions } from "../harness/role.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as WorkerParty from "../parties/worker.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

const data = { text: "hello" }
const window = 8000
const browserCount = 32

export const run = async (bench: Bench): Promise<void> => {
  const one = await startAll(1)
  const stored = await Promise.all([startStored(false), startStored(true)])
  await bench.compare("to 1 worker", [rate("events")], [...contestantsOf(one), ...stored])
  await stopAll(...stored)
  const four = await startAll(4)
  await bench.compare("to 4 workers", [rate("events")], [
    ...contestantsOf(four),
    // In the same rounds, so that the machine is as fast.
    ...oneWorker(one)
  ], { warmUps: 3, uncounted: untilCompiled })
  await stopAll(...Object.values(one), ...Object.values(four))
}

/** A worker of four gets a quarter of the events, and it takes this many rounds more until all that runs then is compiled. */
const untilCompiled = 12

const startAll = async (count: number) => {
  const [zmq, tcp, acknowledged, raw, floor] = await Promise.all([
    startOwn(count, "zmq"),
    startOwn(count, "tcp"),
    startRaw(count, true),
    startRaw(count, false),
    startFloor(count)
  ])
  return { zmq, tcp, acknowledged, raw, floor }
}

type All = Awaited<ReturnType<typeof startAll>>

const contestantsOf = ({ acknowledged, floor, raw, tcp, zmq }: All): ReadonlyArray<Contestant> => [
  { name: "Kosmonaut, ZeroMQ", ...zmq },
  { name: "Kosmonaut, TCP", ...tcp },
  { name: "zeromq.js with acknowledgements", peer: true, ...acknowledged },
  { name: "zeromq.js", peer: true, ...raw },
  { name: floorName, peer: true, ...floor }
]

const oneWorker = ({ floor, tcp, zmq }: All): ReadonlyArray<Contestant> => [
  { name: toOneWorker("Kosmonaut, ZeroMQ"), peer: true, ...zmq },
  { name: toOneWorker("Kosmonaut, TCP"), peer: true, ...tcp },
  { name: toOneWorker(floorName), peer: true, ...floor }
]

const startStored = async (fsync: boolean) => {
  const storageDir = await mkdtemp(join(tmpdir(), "kosmonaut-bench-"))
  const own = await startOwn(1, "zmq", { storageDir, fsync })
  return {
    ...own,
    name: `Kosmonaut, ZeroMQ, stored${fsync ? " with fsync" : ""}`,
    stop: async () => {
      await own.stop()
      await rm(storageDir, { recursive: true })
    }
  }
}

const text = JSON.stringify({ trigger: { event: "chat/say", data } })

const startOwn = async (count: number, kind: "zmq" | "tcp", options?: BrokerConfig.Options) => {
  const [broker, browsers, workers] = await Promise.all([
    start<BrokerParty.Functions>("broker"),
    start<BrowsersParty.Functions>("browsers"),
    startMany<WorkerParty.Functions>(count, "worker")
  ])
  const urls = await broker.call("start", [], options)
  const group = await browsers.call("connect", urls.browsers, browserCount, `{":connected"`)
  const auths = (await broker.call("tokens", browserCount)).map((token) => JSON.stringify({ auth: { token } }))
  await browsers.call("sayEach", group, auths, `{":authenticated"`)
  for (const worker of workers) {
    await worker.call("listen", urls[kind], 1)
    worker.counts((more) => browsers.tell("arrived", more))
  }
  return {
    parties: { browsers, broker, worker: workers[0]! },
    run: async (milliseconds: number) => perSecond(await browsers.call("trigger", group, text, window, milliseconds)),
    stop: () => stopAll(...workers, browsers, broker)
  }
}

const startFloor = async (count: number) => {
  const [relay, browsers, workers] = await Promise.all([
    start<FloorParty.Functions>("../floors/events"),
    start<BrowsersParty.Functions>("browsers"),
    startMany<FloorParty.Functions>(count, "../floors/events")
  ])
  // A frame has six bytes beside a short text.
  const ports = await relay.call("relay", text.length + 6)
  const group = await browsers.call("connect", { port: ports.browsers, path: "/" }, browserCount)
  for (const worker of workers) {
    await worker.call("work", ports.backends)
    worker.counts((more) => browsers.tell("arrived", more))
  }
  return {
    parties: { browsers, broker: relay, worker: workers[0]! },
    run: async (milliseconds: number) => perSecond(await browsers.call("trigger", group, text, window, milliseconds)),
    stop: () => stopAll(...workers, browsers, relay)
  }
}

const startMany = <F extends Functions>(count: number, name: string): Promise<ReadonlyArray<Party<F>>> =>
  Promise.all(Array.from({ length: count }, () => start<F>(name)))

const startRaw = async (count: number, acknowledged: boolean) => {
  const [pusher, workers] = await Promise.all([
    start<ZeromqParty.Functions>("zeromq"),
    startMany<ZeromqParty.Functions>(count, "zeromq")
  ])
  const endpoint = await pusher.call("bind", false)
  for (const worker of workers) {
    await worker.call("pull", endpoint, acknowledged)
    worker.counts((more) => pusher.tell("arrived", more))
  }
  if (acknowledged) await pusher.call("heed", count)
  const json = JSON.stringify({ "chat/say": { ...data, sid: "00000000-0000-4000-8000-000000000000" } })
  return {
    parties: { broker: pusher, worker: workers[0]! },
    run: async (milliseconds: number) => perSecond(await pusher.call("push", count, json, window, milliseconds)),
    stop: () => stopAll(...workers, pusher)
  }
}
