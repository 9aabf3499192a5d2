/**
 * What a connection of a browser that says nothing costs in the server's memory, and what a subscription costs: what is there
 * after a garbage collection, less what was there before. Each turn has a server of its own.
 */
import { execFileSync } from "node:child_process"
import type { Bench, Contestant, Metric, Outcome } from "../harness/Bench.ts"
import { type AnyParty, start } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as SocketIoParty from "../parties/socketIo.ts"
import type * as WsParty from "../parties/ws.ts"

const channelsEach = 10

export const run = async (bench: Bench): Promise<void> => {
  const [few, many] = await connectionsOf(bench.quick)
  const metrics = [
    ...[few, many].flatMap((count) => [
      kilobytes(`a connection, of ${count}: heap`),
      kilobytes(`a connection, of ${count}: resident`)
    ]),
    kilobytes(`a subscription, of ${few * channelsEach}: heap`)
  ]
  const turn = (name: string, peer: boolean, open: Open): Contestant => ({
    name,
    peer,
    run: () => turnOf(few, many, open)
  })
  await bench.compare("of one server", metrics, [
    turn("Kosmonaut", false, openOwn),
    turn("bare ws", true, openWs),
    turn("Socket.IO", true, openSocketIo)
  ], { rounds: bench.quick ? 1 : bench.rounds, warmUp: false })
}

const kilobytes = (name: string): Metric => ({ name, unit: "KB", better: "less" })

// Each connection is an open file, here and there.
const connectionsOf = async (quick: boolean): Promise<readonly [number, number]> => {
  const files = Number(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" })) || 1_000_000
  // Of which the broker keeps a tenth for others than browsers.
  const many = Math.min(quick ? 2000 : 10_000, Math.floor(0.8 * files))
  return [Math.floor(many / 5), many]
}

/** A server that browsers can connect to, and a way to subscribe a group of them to some channels. */
type Open = (browsers: Browsers) => Promise<{
  readonly server: AnyParty
  readonly connect: (count: number) => Promise<number>
  readonly subscribe: (group: number) => Promise<void>
}>

type Browsers = Awaited<ReturnType<typeof startBrowsers>>
const startBrowsers = () => start<BrowsersParty.Functions>("browsers")

const turnOf = async (few: number, many: number, open: Open): Promise<Outcome> => {
  const browsers = await startBrowsers()
  const { connect, server, subscribe } = await open(browsers)
  // Once, so that what is compiled or kept for all is there.
  await subscribe(await connect(20))
  const before = await server.call("memory")
  const group = await connect(few)
  const withFew = await server.call("memory")
  await subscribe(group)
  const subscribed = await server.call("memory")
  await connect(many - few)
  const withMany = await server.call("memory")
  await browsers.stop()
  await server.stop()
  const subscriptions = subscribed.heap - withFew.heap
  const each = (bytes: number, count: number) => bytes / count / 1024
  return {
    values: [
      each(withFew.heap - before.heap, few),
      each(withFew.rss - before.rss, few),
      each(withMany.heap - before.heap - subscriptions, many),
      each(withMany.rss - before.rss, many),
      each(subscriptions, few * channelsEach)
    ]
  }
}

const openOwn: Open = async (browsers) => {
  const server = await start<BrokerParty.Functions>("broker")
  const channels = Array.from({ length: channelsEach }, (_, index) => `channel-${index}`)
  const urls = await server.call("start", channels)
  return {
    server,
    connect: (count) => browsers.call("connect", urls.browsers, count, `{":connected"`),
    subscribe: async (group) => {
      for (const channel of channels) {
        await browsers.call("say", group, JSON.stringify({ subscribe: { channel } }), `{":subscribed"`)
      }
    }
  }
}

const openWs: Open = async (browsers) => {
  const server = await start<WsParty.Functions>("ws")
  const address = await server.call("address")
  return {
    server,
    connect: (count) => browsers.call("connect", address, count),
    subscribe: () => server.call("subscribe", channelsEach)
  }
}

const openSocketIo: Open = async (browsers) => {
  const server = await start<SocketIoParty.Functions>("socketIo")
  const address = await server.call("address")
  return {
    server,
    connect: async (count) => {
      const group = await browsers.call("connect", address, count, "0{")
      await browsers.call("say", group, "40", "40{")
      return group
    },
    subscribe: () => server.call("subscribe", channelsEach)
  }
}
