/**
 * What a connection of a browser that says nothing costs in the server's memory, and what a subscription costs: what is there
 * after a garbage collection, less what was there before. Each turn has a server of its own.
 */
import type * as FloorParty from "../floors/subscriptions.ts"
import type { Bench, Contestant, Metric, Outcome } from "../harness/Bench.ts"
import { type AnyParty, type Party, start } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as SocketIoParty from "../parties/socketIo.ts"
import type * as WsParty from "../parties/ws.ts"

/** Each connection is an open file, here and there: systems allow 1024 or many more. */
const connections = 2000
const channelsEach = 10

export const run = async (bench: Bench): Promise<void> => {
  const count = bench.quick ? connections / 10 : connections
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const subscription = kilobytes(`a subscription, of ${count * channelsEach}: heap`)
  const turn = (name: string, peer: boolean, open: Open): Contestant => ({
    name,
    peer,
    run: () => turnOf(browsers, count, open)
  })
  const options = { rounds: bench.quick ? 1 : bench.rounds, warmUps: 0 }
  await bench.compare(
    "of one server",
    [kilobytes(`a connection, of ${count}: heap`), kilobytes(`a connection, of ${count}: resident`), subscription],
    [turn("Kosmonaut", false, openOwn), turn("bare ws", true, openWs), turn("Socket.IO", true, openSocketIo)],
    options
  )
  await bench.compare("without a server", [subscription], [
    { name: "an entry of a Map and one of a Set", run: () => floorOf(count) }
  ], { ...options, rounds: 1 })
  await browsers.stop()
}

const kilobytes = (name: string): Metric => ({ name, unit: "KB", better: "less" })

/** A server that browsers can connect to, and a way to subscribe a group of them to some channels. */
type Open = (browsers: Browsers) => Promise<{
  readonly server: AnyParty
  readonly connect: (count: number) => Promise<number>
  readonly subscribe: (group: number) => Promise<void>
}>

type Browsers = Party<BrowsersParty.Functions>

const turnOf = async (browsers: Browsers, count: number, open: Open): Promise<Outcome> => {
  const { connect, server, subscribe } = await open(browsers)
  // Once, so that what is compiled or kept for all is there.
  const first = await connect(20)
  await subscribe(first)
  const before = await server.call("memory")
  const group = await connect(count)
  const connected = await server.call("memory")
  await subscribe(group)
  const subscribed = await server.call("memory")
  for (const each of [first, group]) await browsers.call("close", each)
  await server.stop()
  return {
    values: [
      each(connected.heap - before.heap, count),
      each(connected.rss - before.rss, count),
      each(subscribed.heap - connected.heap, count * channelsEach)
    ]
  }
}

const each = (bytes: number, count: number) => bytes / count / 1024

const floorOf = async (count: number): Promise<Outcome> => {
  const floor = await start<FloorParty.Functions>("../floors/subscriptions")
  await floor.call("connect", count)
  const before = await floor.call("memory")
  await floor.call("subscribe", channelsEach)
  const after = await floor.call("memory")
  await floor.stop()
  return { values: [each(after.heap - before.heap, count * channelsEach)] }
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
