/**
 * How long a broadcast takes to be answered while there is half the load that 64 fibers make, whoever is asked and whether
 * it keeps up or not.
 */
import type * as FloorParty from "../floors/requests.ts"
import { type Bench, type Contestant, floor as floorName, type Metric } from "../harness/Bench.ts"
import type { Done, Latencies } from "../harness/pace.ts"
import { start, startPair, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

const metrics: ReadonlyArray<Metric> = [
  ...["p50", "p99", "p99.9"].map((name): Metric => ({ name, unit: "ms", better: "less" })),
  { name: "load", unit: "requests/s", better: "more" }
]
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

  const rates = new Map<string, number>()
  const halfOf = async (name: string, request: () => Promise<Done>): Promise<number> => {
    const { operations, seconds } = await request()
    const half = Math.round(operations / seconds / 2 / 100) * 100
    rates.set(name, half)
    return half
  }
  // What it can is measured right before, since the machine is faster at times.
  const own = (name: string, url: string): Contestant => ({
    name,
    run: async (milliseconds) => {
      const half = await halfOf(name, () => client.call("request", url, "room", fibers, milliseconds))
      return outcomeOf(await client.call("openLoop", url, half, 2 * milliseconds), half)
    }
  })
  const raw: Contestant = {
    name: "zeromq.js",
    peer: true,
    run: async (milliseconds) => {
      const half = await halfOf("zeromq.js", () => rawClient.call("request", fibers, milliseconds))
      return outcomeOf(await rawClient.call("openLoop", half, 2 * milliseconds), half)
    }
  }
  await bench.compare("each at half of what it can", metrics, [
    own("Kosmonaut, ZeroMQ", urls.zmq),
    own("Kosmonaut, TCP", urls.tcp),
    raw,
    {
      name: floorName,
      peer: true,
      run: async (milliseconds) => {
        const rate = rates.get("Kosmonaut, TCP")!
        return outcomeOf(await floor.client.call("openLoop", rate, 2 * milliseconds), rate)
      }
    }
  ], { warmUps: 3 })
  await bench.compare("all at half of what zeromq.js can", metrics, [
    {
      name: "Kosmonaut, ZeroMQ",
      run: async (milliseconds) => {
        const rate = rates.get("zeromq.js")!
        return outcomeOf(await client.call("openLoop", urls.zmq, rate, 2 * milliseconds), rate)
      }
    },
    raw
  ], { rounds: bench.few, warmUps: 0 })
  await stopAll(broker, client, rawPair, floor)
}

const outcomeOf = ({ p50, p99, p999 }: Latencies, rate: number) => ({ values: [p50, p99, p999, rate] })
