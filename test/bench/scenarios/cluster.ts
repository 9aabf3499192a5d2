/**
 * What several nodes cost that share a Redis, beside a broker that is alone: the processor time of the node that accepts something, of
 * another node that only applies it, and of Redis.
 */
import { type Bench, type Contestant, perSecond, rate } from "../harness/Bench.ts"
import { type Party, start, stopAll } from "../harness/party.ts"
import * as Redis from "../harness/redis.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as WorkerParty from "../parties/worker.ts"

/** How many browsers each node has on a channel. */
const receivers = 10

/** How many browsers trigger events, and how many events are under way. Of each browser one event at a time is on its way to the queue. */
const triggering = 1024
const window = 8000

/** How many browsers join and leave. */
const joining = 32

export const run = async (bench: Bench): Promise<void> => {
  if (Redis.version() === undefined) return void process.stderr.write("There is no redis-server on the PATH.\n")
  const all = await Promise.all([0, 1, 3].map(startBrokers))
  for (const fibers of [1024, 256, 64, 1]) {
    await compare(
      bench,
      all,
      `${fibers} ${fibers === 1 ? "broadcast" : "broadcasts"} in flight, to ${receivers} browsers of each node`,
      "broadcasts",
      (brokers) => broadcasts(brokers, fibers)
    )
  }
  await compare(bench, all, `events of ${triggering} browsers of one node to a worker of the last`, "events", events)
  await compare(bench, all, `joins and leaves of ${joining} browsers of one node`, "joins and leaves", joins)
  for (const { nodes, redis } of all) await stopAll(...nodes.map(({ broker }) => broker), redis)
  await memory(bench)
}

/** A broker that is alone, or nodes. */
interface Brokers {
  readonly name: string
  readonly nodes: ReadonlyArray<Started>
  readonly redis: Redis.Redis | undefined
}

interface Started {
  readonly broker: Party<BrokerParty.Functions>
  readonly urls: Awaited<ReturnType<BrokerParty.Functions["start"]>>
}

/** What is measured on some brokers, and what ends it. */
interface Measured {
  readonly run: Contestant["run"]
  readonly stop: () => Promise<void>
}

const compare = async (
  bench: Bench,
  all: ReadonlyArray<Brokers>,
  title: string,
  what: string,
  measure: (brokers: Brokers) => Promise<Measured>
): Promise<void> => {
  const measured = await Promise.all(all.map(measure))
  await bench.compare(
    title,
    [rate(what)],
    all.map(({ name, nodes: [first, ...others], redis }, index): Contestant => ({
      name,
      peer: redis === undefined,
      run: measured[index]!.run,
      parties: {
        node: first!.broker,
        ...others.length > 0 && { "another node": others.at(-1)!.broker },
        ...redis && { redis }
      }
    })),
    { rounds: bench.few }
  )
  await stopAll(...measured)
}

/** So many nodes, or for 0 one broker that is alone. */
const startBrokers = async (count: number): Promise<Brokers> => {
  const redis = count === 0 ? undefined : await Redis.start()
  const brokers = await Promise.all(
    Array.from({ length: Math.max(1, count) }, () => start<BrokerParty.Functions>("broker"))
  )
  const nodes: Array<Started> = []
  for (const broker of brokers) {
    const vhosts = [{ path: "/bench", token: "0123456789".repeat(4), channels: ["room"] }]
    const urls = await broker.call("start", [], {
      vhosts,
      channelRules: [{ pattern: "presence-.*", openOnDemand: true }],
      ...redis && { redis: { url: redis.url } }
    })
    nodes.push({ broker, urls })
  }
  return { name: count === 0 ? "alone" : `${count} ${count === 1 ? "node" : "nodes"}`, nodes, redis }
}

const broadcasts = async ({ nodes }: Brokers, fibers: number): Promise<Measured> => {
  const client = await start<ClientParty.Functions>("client")
  const { zmq } = nodes[0]!.urls
  await client.call("connect", zmq)
  const browsers = await start<BrowsersParty.Functions>("browsers")
  for (const { urls } of nodes) {
    const group = await browsers.call("connect", urls.browsers, receivers, `{":connected"`)
    await browsers.call("say", group, subscribe("room"), subscribed)
  }
  const all = receivers * nodes.length
  browsers.counts((more) => client.tell("arrived", more))
  await browsers.call("countEvery", 160)
  return {
    run: async (milliseconds) => {
      const done = await client.call("fanOut", zmq, all, Math.max(all * fibers, 1600), fibers, milliseconds, true)
      return perSecond({ ...done, operations: done.operations / all })
    },
    stop: () => stopAll(client, browsers)
  }
}

const events = async ({ nodes }: Brokers): Promise<Measured> => {
  const { browsers, group } = await authenticated(nodes[0]!, triggering)
  const worker = await start<WorkerParty.Functions>("worker")
  await worker.call("listen", nodes.at(-1)!.urls.zmq, 1)
  worker.counts((more) => browsers.tell("arrived", more))
  const text = JSON.stringify({ trigger: { event: "chat/say", data: { text: "hello" } } })
  return {
    run: async (milliseconds) => perSecond(await browsers.call("trigger", group, text, window, milliseconds)),
    stop: () => stopAll(worker, browsers)
  }
}

const joins = async ({ nodes }: Brokers): Promise<Measured> => {
  const { browsers, group } = await authenticated(nodes[0]!, joining)
  return {
    run: async (milliseconds) => {
      const started = performance.now()
      let operations = 0
      while (performance.now() - started < milliseconds) {
        operations += await browsers.call("say", group, subscribe("presence-room"), subscribed)
        operations += await browsers.call("say", group, leave, `{":unsubscribed"`)
      }
      return perSecond({ operations, seconds: (performance.now() - started) / 1000 })
    },
    stop: () => stopAll(browsers)
  }
}

const leave = JSON.stringify({ unsubscribe: { channel: "presence-room" } })

const subscribe = (channel: string): string => JSON.stringify({ subscribe: { channel } })

const subscribed = `{":subscribed"`

const authenticated = async ({ broker, urls }: Started, count: number) => {
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const group = await browsers.call("connect", { ...urls.browsers, path: `${urls.browsers.path}?v=1` }, count, `{":con`)
  const auths = (await broker.call("tokens", count)).map((token) => JSON.stringify({ auth: { token } }))
  await browsers.call("sayEach", group, auths, `{":authenticated"`)
  return { browsers, group }
}

// What a node has in memory of a browser of another node.
const memory = async (bench: Bench): Promise<void> => {
  const count = bench.quick ? 1000 : 5000
  await bench.compare(
    "a browser of another node, and its place on a presence channel with 10 members",
    [{ name: "heap", unit: "bytes", better: "less" }],
    [{
      name: "2 nodes",
      run: async () => {
        const { nodes: [first, second], redis } = await startBrokers(2)
        const before = await second!.broker.call("memory")
        const { browsers, group } = await authenticated(first!, count)
        const joins = Array.from({ length: count }, (_, index) => subscribe(`presence-${Math.floor(index / 10)}`))
        await browsers.call("sayEach", group, joins, subscribed)
        await second!.broker.call("settled")
        const after = await second!.broker.call("memory")
        await stopAll(browsers, first!.broker, second!.broker, redis)
        return { values: [(after.heap - before.heap) / count], operations: count }
      }
    }],
    { rounds: 1, warmUps: 0 }
  )
}
