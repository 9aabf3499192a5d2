/**
 * Events a second, from browsers in a process of their own to the handlers of workers, no more than 8000 under way.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { BrokerConfig } from "../../../src/server/index.ts"
import { type Bench, perSecond, rate } from "../harness/Bench.ts"
import { type Party, start } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as WorkerParty from "../parties/worker.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

const data = { text: "hello" }
const window = 8000
const browserCount = 32

export const run = async (bench: Bench): Promise<void> => {
  for (const count of [1, 4]) {
    const zmq = await startOwn(count, "zmq")
    const tcp = await startOwn(count, "tcp")
    const raw = await startRaw(count, false)
    const acknowledged = await startRaw(count, true)
    const stored = count === 1 ? await startStored() : []
    await bench.compare(`to ${count} ${count === 1 ? "worker" : "workers"}`, [rate("events")], [
      { name: "Kosmonaut, ZeroMQ", ...zmq },
      { name: "Kosmonaut, TCP", ...tcp },
      ...stored,
      { name: "zeromq.js with acknowledgements", peer: true, ...acknowledged },
      { name: "zeromq.js", peer: true, ...raw }
    ], { profile: count === 1 })
    for (const { stop } of [zmq, tcp, ...stored, acknowledged, raw]) await stop()
  }
}

const startStored = async () => {
  const folders = await Promise.all([1, 2].map(() => mkdtemp(join(tmpdir(), "kosmonaut-bench-"))))
  const remove = (own: Awaited<ReturnType<typeof startOwn>>, folder: string) => ({
    ...own,
    stop: async () => {
      await own.stop()
      await rm(folder, { recursive: true })
    }
  })
  return [
    {
      name: "Kosmonaut, ZeroMQ, stored",
      ...remove(await startOwn(1, "zmq", { storageDir: folders[0]! }), folders[0]!)
    },
    {
      name: "Kosmonaut, ZeroMQ, stored with fsync",
      ...remove(await startOwn(1, "zmq", { storageDir: folders[1]!, fsync: true }), folders[1]!)
    }
  ]
}

const startOwn = async (count: number, kind: "zmq" | "tcp", options?: BrokerConfig.Options) => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", [], options)
  const client = await start<ClientParty.Functions>("client")
  await client.call("connect", urls.zmq)
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const group = await browsers.call("connect", urls.browsers, browserCount, `{":connected"`)
  const tokens = await client.call("tokens", urls.zmq, browserCount)
  const auths = tokens.map((token) => JSON.stringify({ auth: { token } }))
  await browsers.call("sayEach", group, auths, `{":authenticated"`)
  await client.stop()
  const workers: Array<Party<WorkerParty.Functions>> = []
  for (let i = 0; i < count; i++) {
    const worker = await start<WorkerParty.Functions>("worker")
    await worker.call("listen", urls[kind], 1)
    worker.counts((more) => browsers.tell("arrived", more))
    workers.push(worker)
  }
  const text = JSON.stringify({ trigger: { event: "chat/say", data } })
  return {
    parties: { browsers, broker, worker: workers[0]! },
    run: async (milliseconds: number) => perSecond(await browsers.call("trigger", group, text, window, milliseconds)),
    stop: async () => {
      for (const party of [...workers, browsers, broker]) await party.stop()
    }
  }
}

const startRaw = async (count: number, acknowledged: boolean) => {
  const pusher = await start<ZeromqParty.Functions>("zeromq")
  const endpoint = await pusher.call("bind", false)
  const workers: Array<Party<ZeromqParty.Functions>> = []
  for (let i = 0; i < count; i++) {
    const worker = await start<ZeromqParty.Functions>("zeromq")
    await worker.call("pull", endpoint, acknowledged)
    worker.counts((more) => pusher.tell("arrived", more))
    workers.push(worker)
  }
  if (acknowledged) await pusher.call("heed", count)
  const json = JSON.stringify({ "chat/say": { ...data, sid: "00000000-0000-4000-8000-000000000000" } })
  return {
    parties: { broker: pusher, worker: workers[0]! },
    run: async (milliseconds: number) => perSecond(await pusher.call("push", count, json, window, milliseconds)),
    stop: async () => {
      for (const party of [...workers, pusher]) await party.stop()
    }
  }
}
