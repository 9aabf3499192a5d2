/**
 * Deliveries a second: the same message to many pages, counted where they are, in a process of their own.
 */
import { type Bench, type Contestant, perSecond, rate } from "../harness/Bench.ts"
import type { Done } from "../harness/pace.ts"
import { type Party, start } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as PagesParty from "../parties/pages.ts"
import type * as SocketIoParty from "../parties/socketIo.ts"
import type * as WsParty from "../parties/ws.ts"

/** How many deliveries may be under way. */
const windowOf = (receivers: number) => Math.max(12_800, 8 * receivers)

export const run = async (bench: Bench): Promise<void> => {
  for (const receivers of bench.quick ? [10, 200] : [10, 200, 2000]) {
    const own = await startOwn(receivers)
    const ws = await startWs(receivers)
    const socketIo = await startSocketIo(receivers)
    await bench.compare(`to ${receivers} pages`, [rate("deliveries")], [
      ...own.contestants,
      ws.contestant,
      socketIo.contestant
    ], { profile: receivers === 200 })
    if (receivers >= 200) {
      await bench.compare(`${together} broadcasts in flight, to ${receivers} pages`, [rate("deliveries")], [
        own.together,
        ws.together
      ])
    }
    for (const { stop } of [own, ws, socketIo]) await stop()
  }
}

/** How many broadcasts are made in one turn where many are in flight, and how many deliveries of such may be under way. */
const together = 64
const togetherWindow = (receivers: number) => 2 * together * receivers

// Only once they are where they should be, since an answer is no delivery.
const count = async (pages: Party<PagesParty.Functions>, receivers: number, hear: (more: number) => void) => {
  pages.counts(hear)
  await pages.call("countEvery", Math.floor(windowOf(receivers) / 8))
}

const startOwn = async (receivers: number) => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", ["room"])
  const client = await start<ClientParty.Functions>("client")
  await client.call("connect", urls.zmq)
  const pages = await start<PagesParty.Functions>("pages")
  const group = await pages.call("connect", urls.pages, receivers, `{":connected"`)
  await pages.call("say", group, JSON.stringify({ subscribe: { channel: "room" } }), `{":subscribed"`)
  let hear = (_more: number): void => {}
  await count(pages, receivers, (more) => hear(more))
  const contestants: ReadonlyArray<Contestant> = [
    {
      name: "Kosmonaut, from a Client",
      parties: { client, broker, pages },
      run: (milliseconds) => {
        hear = (more) => client.tell("arrived", more)
        return perSecondOf(client.call("fanOut", urls.zmq, receivers, windowOf(receivers), 16, milliseconds))
      }
    },
    {
      name: "Kosmonaut, in the broker",
      parties: { broker, pages },
      run: (milliseconds) => {
        hear = (more) => broker.tell("arrived", more)
        return perSecondOf(broker.call("fanOut", receivers, windowOf(receivers), milliseconds))
      }
    }
  ]
  const many: Contestant = {
    name: "Kosmonaut, in the broker",
    parties: { broker, pages },
    run: (milliseconds) => {
      hear = (more) => broker.tell("arrived", more)
      return perSecondOf(broker.call("fanOut", receivers, togetherWindow(receivers), milliseconds, together))
    }
  }
  return { contestants, together: many, stop: () => stopAll(broker, client, pages) }
}

const startWs = async (receivers: number) => {
  const server = await start<WsParty.Functions>("ws")
  const pages = await start<PagesParty.Functions>("pages")
  await pages.call("connect", await server.call("address"), receivers)
  await count(pages, receivers, (more) => server.tell("arrived", more))
  const contestant: Contestant = {
    name: "bare ws",
    peer: true,
    parties: { broker: server, pages },
    run: (milliseconds) => perSecondOf(server.call("fanOut", receivers, windowOf(receivers), milliseconds))
  }
  const many: Contestant = {
    name: "bare ws, one write per message",
    peer: true,
    parties: { broker: server, pages },
    run: (milliseconds) =>
      perSecondOf(server.call("fanOut", receivers, togetherWindow(receivers), milliseconds, together))
  }
  return { contestant, together: many, stop: () => stopAll(server, pages) }
}

const startSocketIo = async (receivers: number) => {
  const server = await start<SocketIoParty.Functions>("socketIo")
  const pages = await start<PagesParty.Functions>("pages")
  const group = await pages.call("connect", await server.call("address"), receivers, "0{")
  await pages.call("say", group, "40", "40{")
  await count(pages, receivers, (more) => server.tell("arrived", more))
  const contestant: Contestant = {
    name: "Socket.IO",
    peer: true,
    parties: { broker: server, pages },
    run: (milliseconds) => perSecondOf(server.call("fanOut", receivers, windowOf(receivers), milliseconds))
  }
  return { contestant, stop: () => stopAll(server, pages) }
}

const perSecondOf = async (done: Promise<Done>) => perSecond(await done)

const stopAll = async (...parties: ReadonlyArray<Pick<Party<never>, "stop">>) => {
  for (const party of parties) await party.stop()
}
