/**
 * What history costs: a position for each broadcast and a place in memory, with storage a row as well; what a browser costs that
 * comes back; and the memory that a retained broadcast takes.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Bench, type Contestant, type Metric, perSecond, rate } from "../harness/Bench.ts"
import { type Party, start, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"

type Options = Parameters<BrokerParty.Functions["start"]>[1]

const history = { channelRules: [{ pattern: "room", history: true }] } satisfies Options

export const run = async (bench: Bench): Promise<void> => {
  const directory = mkdtempSync(join(tmpdir(), "kosmonaut-bench-"))
  const settings: ReadonlyArray<{ readonly name: string; readonly options: Options; readonly peer?: boolean }> = [
    { name: "without history", options: {}, peer: true },
    { name: "history in memory", options: history },
    { name: "history with storage", options: { ...history, storageDir: directory } }
  ]
  const open = await Promise.all(
    settings.map(async ({ options, ...setting }) => ({ ...await openOwn(options), setting }))
  )
  await broadcasts(bench, open)
  await deliveries(bench, open)
  await stopAll(...open)
  await recovery(bench)
  await memory(bench)
  rmSync(directory, { recursive: true })
}

type Open = ReadonlyArray<
  Awaited<ReturnType<typeof openOwn>> & { readonly setting: Pick<Contestant, "name" | "peer"> }
>

const broadcasts = async (bench: Bench, open: Open) => {
  for (const fibers of [256, 64, 1]) {
    await bench.compare(
      `${fibers} ${fibers === 1 ? "fiber" : "fibers"}, no subscribers`,
      [rate("broadcasts")],
      open.map(({ broker, client, setting, urls }): Contestant => ({
        ...setting,
        parties: { client, broker },
        run: async (milliseconds) => perSecond(await client.call("request", urls.zmq, "room", fibers, milliseconds))
      })),
      { rounds: bench.few, warmUps: 1 }
    )
  }
}

const subscribers = 10

/** It takes this many rounds until all that runs is compiled. */
const untilCompiled = 5

const deliveries = async (bench: Bench, open: Open) => {
  const contestants: Array<Contestant> = []
  const all: Array<Party<BrowsersParty.Functions>> = []
  for (const { broker, client, setting, urls } of open) {
    const browsers = await start<BrowsersParty.Functions>("browsers")
    const group = await browsers.call("connect", versioned(urls.browsers), subscribers, `{":connected"`)
    await browsers.call("say", group, JSON.stringify({ subscribe: { channel: "room" } }), `{":subscribed"`)
    browsers.counts((more) => client.tell("arrived", more))
    await browsers.call("countEvery", 1600)
    contestants.push({
      ...setting,
      parties: { client, broker, browsers },
      run: async (milliseconds) =>
        perSecond(await client.call("fanOut", urls.zmq, subscribers, 12_800, 16, milliseconds, true))
    })
    all.push(browsers)
  }
  await bench.compare(`to ${subscribers} browsers`, [rate("deliveries")], contestants, { uncounted: untilCompiled })
  await stopAll(...all)
}

const recovery = async (bench: Bench) => {
  const [count, missed] = [200, 1000]
  const { broker, stop, urls } = await openOwn(history)
  await broker.call("broadcast", "room", missed)
  const browsers = await start<BrowsersParty.Functions>("browsers")
  await browsers.call("countEvery", 1600)
  const metrics: ReadonlyArray<Metric> = [
    rate("deliveries"),
    { name: "longest stall", unit: "ms", better: "less" },
    { name: "until all have all", unit: "ms", better: "less" }
  ]
  await bench.compare(`${count} browsers that have missed ${missed} broadcasts each`, metrics, [{
    name: "history in memory",
    parties: { broker, browsers },
    run: async () => {
      const group = await browsers.call("connect", versioned(urls.browsers), count, `{":connected"`)
      const all = Promise.withResolvers<void>()
      let left = count * missed
      browsers.counts((more) => {
        left -= more
        if (left <= 0) all.resolve()
      })
      await broker.call("stall")
      const started = performance.now()
      await browsers.call("say", group, JSON.stringify({ subscribe: { channel: "room", rewind: missed } }), `{":subscr`)
      await all.promise
      const milliseconds = performance.now() - started
      const stall = await broker.call("stall")
      await browsers.call("close", group)
      return { values: [count * missed / milliseconds * 1000, stall, milliseconds], operations: count * missed }
    }
  }])
  await stop()
  await browsers.stop()
}

const memory = async (bench: Bench) => {
  const count = 100_000
  await bench.compare(
    "retained broadcasts",
    [{ name: "a broadcast of 70 bytes: heap", unit: "bytes", better: "less" }],
    [{
      name: "history in memory",
      run: async () => {
        const broker = await start<BrokerParty.Functions>("broker")
        await broker.call("start", ["room"], {
          channelRules: [{ pattern: "room", history: { count: 2 * count, size: 2 ** 40 } }],
          history: { vhostSize: 2 ** 40, totalSize: 2 ** 40 }
        })
        await broker.call("broadcast", "room", 1000)
        const before = await broker.call("memory")
        await broker.call("broadcast", "room", count)
        const after = await broker.call("memory")
        await broker.stop()
        return { values: [(after.heap - before.heap) / count], operations: count }
      }
    }],
    { rounds: 1, warmUps: 0 }
  )
}

const versioned = ({ path, port }: { readonly port: number; readonly path: string }) => ({ port, path: `${path}?v=1` })

const openOwn = async (options: Options) => {
  const [broker, client] = await Promise.all([
    start<BrokerParty.Functions>("broker"),
    start<ClientParty.Functions>("client")
  ])
  const urls = await broker.call("start", ["room"], options)
  await client.call("connect", urls.zmq)
  const stop = () => stopAll(broker, client)
  return { broker, client, urls, stop }
}
