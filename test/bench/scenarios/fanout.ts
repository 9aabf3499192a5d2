/**
 * Deliveries a second: the same message to many browsers, counted where they are, in a process of their own. And how long
 * the broker's event loop stands still if many broadcasts are in flight at the same time.
 */
import { type Bench, type Contestant, type Metric, perSecond, rate } from "../harness/Bench.ts"
import type { Done } from "../harness/pace.ts"
import { type AnyParty, type Party, start, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as SocketIoParty from "../parties/socketIo.ts"
import type * as WsParty from "../parties/ws.ts"

/** How many deliveries may be under way. */
const windowOf = (receivers: number) => Math.max(12_800, 8 * receivers)

/** How many broadcasts are in flight at the same time, in the second comparison. */
const inFlight = 64

const stall: Metric = { name: "longest stall", unit: "ms", better: "less" }

export const run = async (bench: Bench): Promise<void> => {
  for (const receivers of bench.quick ? [10, 200] : [10, 200, 2000]) {
    const [own, ws, socketIo] = await Promise.all([startOwn(receivers), startWs(receivers), startSocketIo(receivers)])
    await bench.compare(`to ${receivers} browsers`, [rate("deliveries")], [
      ...own.contestants,
      ws.contestant,
      socketIo.contestant
    ])
    if (receivers >= 200) {
      await bench.compare(`${inFlight} broadcasts in flight to ${receivers} browsers`, [rate("deliveries"), stall], [
        own.inFlight,
        ws.inFlight
      ])
    }
    await stopAll(own, ws, socketIo)
  }
}

// Only once they are where they should be, since an answer is no delivery.
const count = async (browsers: Party<BrowsersParty.Functions>, receivers: number, hear: (more: number) => void) => {
  browsers.counts(hear)
  await browsers.call("countEvery", Math.floor(windowOf(receivers) / 8))
}

const startOwn = async (receivers: number) => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", ["room"])
  const client = await start<ClientParty.Functions>("client")
  await client.call("connect", urls.zmq)
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const group = await browsers.call("connect", urls.browsers, receivers, `{":connected"`)
  await browsers.call("say", group, JSON.stringify({ subscribe: { channel: "room" } }), `{":subscribed"`)
  let hear = (_more: number): void => {}
  await count(browsers, receivers, (more) => hear(more))
  const contestants: ReadonlyArray<Contestant> = [
    {
      name: "Kosmonaut, from a Client",
      parties: { client, broker, browsers },
      run: (milliseconds) => {
        hear = (more) => client.tell("arrived", more)
        return perSecondOf(client.call("fanOut", urls.zmq, receivers, windowOf(receivers), 16, milliseconds))
      }
    },
    {
      name: "Kosmonaut, in the broker",
      parties: { broker, browsers },
      run: (milliseconds) => {
        hear = (more) => broker.tell("arrived", more)
        return perSecondOf(broker.call("fanOut", receivers, windowOf(receivers), milliseconds))
      }
    }
  ]
  const many: Contestant = {
    name: "Kosmonaut, from a Client",
    parties: { client, broker, browsers },
    run: (milliseconds) => {
      hear = (more) => client.tell("arrived", more)
      return withStall(
        broker,
        () => client.call("fanOut", urls.zmq, receivers, receivers * inFlight, inFlight, milliseconds)
      )
    }
  }
  return { contestants, inFlight: many, stop: () => stopAll(broker, client, browsers) }
}

const startWs = async (receivers: number) => {
  const server = await start<WsParty.Functions>("ws")
  const browsers = await start<BrowsersParty.Functions>("browsers")
  await browsers.call("connect", await server.call("address"), receivers)
  await count(browsers, receivers, (more) => server.tell("arrived", more))
  const contestant: Contestant = {
    name: "bare ws",
    peer: true,
    parties: { broker: server, browsers },
    run: (milliseconds) => perSecondOf(server.call("fanOut", receivers, windowOf(receivers), milliseconds))
  }
  const many: Contestant = {
    name: "bare ws, one write per message",
    peer: true,
    parties: { broker: server, browsers },
    run: (milliseconds) => withStall(server, () => server.call("fanOut", receivers, receivers * inFlight, milliseconds))
  }
  return { contestant, inFlight: many, stop: () => stopAll(server, browsers) }
}

const startSocketIo = async (receivers: number) => {
  const server = await start<SocketIoParty.Functions>("socketIo")
  const browsers = await start<BrowsersParty.Functions>("browsers")
  const group = await browsers.call("connect", await server.call("address"), receivers, "0{")
  await browsers.call("say", group, "40", "40{")
  await count(browsers, receivers, (more) => server.tell("arrived", more))
  const contestant: Contestant = {
    name: "Socket.IO",
    peer: true,
    parties: { broker: server, browsers },
    run: (milliseconds) => perSecondOf(server.call("fanOut", receivers, windowOf(receivers), milliseconds))
  }
  return { contestant, stop: () => stopAll(server, browsers) }
}

const perSecondOf = async (done: Promise<Done>) => perSecond(await done)

const withStall = async (server: AnyParty, run: () => Promise<Done>) => {
  await server.call("stall")
  const { operations, values } = perSecond(await run())
  return { values: [...values, await server.call("stall")], operations }
}
