/**
 * Requests a second: broadcasts to a channel that nobody is on, by any number of fibers at once.
 */
import type * as FibersParty from "../floors/fibers.ts"
import type * as FloorParty from "../floors/requests.ts"
import type * as ZeromqFibersParty from "../floors/zeromqFibers.ts"
import {
  type Bench,
  type Contestant,
  fibersFloor as fibersName,
  floor as floorName,
  perSecond,
  rate,
  zeromqFloor as zeromqName
} from "../harness/Bench.ts"
import { start, startPair, stopAll } from "../harness/party.ts"
import * as Redis from "../harness/redis.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as RedisParty from "../parties/redis.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

export const run = async (bench: Bench): Promise<void> => {
  const [zmq, tcp, raw, floor, fibersFloor, zeromqFloor, redis] = await Promise.all([
    startOwn("zmq"),
    startOwn("tcp"),
    startPair<ZeromqParty.Functions>("zeromq"),
    startPair<FloorParty.Functions>("../floors/requests"),
    startPair<FibersParty.Functions>("../floors/fibers"),
    startPair<ZeromqFibersParty.Functions>("../floors/zeromqFibers"),
    Redis.start()
  ])
  await raw.client.call("connect", await raw.server.call("bind", true))
  await floor.client.call("connect", await floor.server.call("bind"))
  await fibersFloor.client.call("connect", await fibersFloor.server.call("bind"))
  await zeromqFloor.client.call("connect", await zeromqFloor.server.call("bind"))
  const ioredis = redis && await start<RedisParty.Functions>("redis", String(redis.port))

  const own = (name: string, { broker, client, url }: Own, fibers: number): Contestant => ({
    name,
    parties: { client, broker },
    run: async (milliseconds) => perSecond(await client.call("request", url, "room", fibers, milliseconds))
  })
  // The most first: what runs seldom is compiled by then, as in any process that is busy at times.
  for (const fibers of [256, 64, 1]) {
    await bench.compare(`${fibers} ${fibers === 1 ? "fiber" : "fibers"}`, [rate("requests")], [
      own("Kosmonaut, ZeroMQ", zmq, fibers),
      own("Kosmonaut, TCP", tcp, fibers),
      {
        name: "zeromq.js",
        peer: true,
        parties: { client: raw.client, broker: raw.server },
        run: async (milliseconds) => perSecond(await raw.client.call("request", fibers, milliseconds))
      },
      ...redis === undefined || ioredis === undefined ? [] : [{
        name: "ioredis",
        peer: true,
        parties: { client: ioredis, redis },
        run: async (milliseconds: number) => perSecond(await ioredis.call("request", fibers, milliseconds))
      }],
      {
        name: floorName,
        peer: true,
        parties: { client: floor.client, broker: floor.server },
        run: async (milliseconds) => perSecond(await floor.client.call("request", fibers, milliseconds))
      },
      {
        name: fibersName,
        peer: true,
        parties: { client: fibersFloor.client, broker: fibersFloor.server },
        run: async (milliseconds) => perSecond(await fibersFloor.client.call("request", fibers, milliseconds))
      },
      {
        name: zeromqName,
        peer: true,
        parties: { client: zeromqFloor.client, broker: zeromqFloor.server },
        run: async (milliseconds) => perSecond(await zeromqFloor.client.call("request", fibers, milliseconds))
      }
    ], { warmUps: 4, uncounted: fibers === 1 ? 0 : untilCompiled })
  }
  await stopAll(zmq.broker, zmq.client, tcp.broker, tcp.client, raw, floor, fibersFloor, zeromqFloor, ioredis, redis)
}

/** It takes this many rounds more until nothing is compiled any more. */
const untilCompiled = 5

type Own = Awaited<ReturnType<typeof startOwn>>

// A pair for each transport, as each peer has one: an application uses one transport.
const startOwn = async (kind: "zmq" | "tcp") => {
  const [broker, client] = await Promise.all([
    start<BrokerParty.Functions>("broker"),
    start<ClientParty.Functions>("client")
  ])
  const url = (await broker.call("start", ["room"]))[kind]
  await client.call("connect", url)
  return { broker, client, url }
}
