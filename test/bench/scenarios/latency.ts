/**
 * How long a broadcast takes to be answered while there is half the load that 64 fibers make, whoever is asked and whether
 * it keeps up or not.
 */
import type * as FloorParty from "../floors/requests.ts"
import { type Bench, floor as floorName, type Metric, spreadOf } from "../harness/Bench.ts"
import type { Done, Latencies } from "../harness/pace.ts"
import { start, startPair, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

const metrics = ["p50", "p99", "p99.9"].map((name): Metric => ({ name, unit: "ms", better: "less" }))
const fibers = 64

export const run = async (bench: Bench): Promise<void> => {
  const [broker, client, rawPair, floor] = await Promise.all([
    start<BrokerParty.Functions>("broker"),
    start<ClientParty.Functions>("client"),
    startPair<ZeromqParty.Functions>("zeromq"),
    startPair<FloorParty.Functions>("../floors/requests")
  ])
  const urls = await broker.call("start", ["room"])
  const rawClient = rawPair.client
  await rawClient.call("connect", await rawPair.server.call("bind", true))
  await floor.client.call("connect", await floor.server.call("bind"))
  for (const url of [urls.zmq, urls.tcp]) await client.call("connect", url)

  const halfOf = async (request: () => Promise<Done>): Promise<number> => {
    const rates: Array<number> = []
    for (let i = 0; i < 4; i++) {
      const { operations, seconds } = await request()
      if (i > 0) rates.push(operations / seconds)
    }
    return Math.round(spreadOf(rates).median / 2 / 100) * 100
  }
  const zmq = await halfOf(() => client.call("request", urls.zmq, "room", fibers, bench.turn))
  const tcp = await halfOf(() => client.call("request", urls.tcp, "room", fibers, bench.turn))
  const raw = await halfOf(() => rawClient.call("request", fibers, bench.turn))

  const own = (name: string, url: string, perSecond: number) => ({
    name: `${name}, ${perSecond} requests/s`,
    run: async (milliseconds: number) => outcomeOf(await client.call("openLoop", url, perSecond, 2 * milliseconds))
  })
  await bench.compare("each at half of what it can", metrics, [
    own("Kosmonaut, ZeroMQ", urls.zmq, zmq),
    own("Kosmonaut, TCP", urls.tcp, tcp),
    {
      name: `zeromq.js, ${raw} requests/s`,
      peer: true,
      run: async (milliseconds) => outcomeOf(await rawClient.call("openLoop", raw, 2 * milliseconds))
    },
    {
      name: `${floorName}, ${tcp} requests/s`,
      peer: true,
      run: async (milliseconds) => outcomeOf(await floor.client.call("openLoop", tcp, 2 * milliseconds))
    }
  ])
  await bench.compare("all at half of what zeromq.js can", metrics, [
    own("Kosmonaut, ZeroMQ", urls.zmq, raw),
    {
      name: `zeromq.js, ${raw} requests/s`,
      peer: true,
      run: async (milliseconds) => outcomeOf(await rawClient.call("openLoop", raw, 2 * milliseconds))
    }
  ])
  await stopAll(broker, client, rawPair, floor)
}

const outcomeOf = ({ p50, p99, p999 }: Latencies) => ({ values: [p50, p99, p999] })
