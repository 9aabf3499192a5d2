/**
 * Requests a second: broadcasts to a channel that nobody is on, by any number of fibers at once.
 */
import { type Bench, type Contestant, perSecond, rate } from "../harness/Bench.ts"
import { start } from "../harness/party.ts"
import * as Redis from "../harness/redis.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as RedisParty from "../parties/redis.ts"
import type * as ZeromqParty from "../parties/zeromq.ts"

export const run = async (bench: Bench): Promise<void> => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", ["room"])
  const client = await start<ClientParty.Functions>("client")
  const rawServer = await start<ZeromqParty.Functions>("zeromq")
  const rawClient = await start<ZeromqParty.Functions>("zeromq")
  await rawClient.call("connect", await rawServer.call("bind", true))
  const redis = await startRedis()
  for (const url of [urls.zmq, urls.tcp]) await client.call("connect", url)

  const own = (name: string, url: string, fibers: number): Contestant => ({
    name,
    parties: { client, broker },
    run: async (milliseconds) => perSecond(await client.call("request", url, "room", fibers, milliseconds))
  })
  for (const fibers of bench.quick ? [1, 64, 256] : [1, 16, 64, 256, 1024]) {
    await bench.compare(`${fibers} ${fibers === 1 ? "fiber" : "fibers"}`, [rate("requests")], [
      own("Kosmonaut, ZeroMQ", urls.zmq, fibers),
      own("Kosmonaut, TCP", urls.tcp, fibers),
      {
        name: "zeromq.js",
        peer: true,
        parties: { client: rawClient, broker: rawServer },
        run: async (milliseconds) => perSecond(await rawClient.call("request", fibers, milliseconds))
      },
      ...redis === undefined ? [] : [{
        name: "ioredis",
        peer: true,
        parties: { client: redis.client },
        run: async (milliseconds: number) => perSecond(await redis.client.call("request", fibers, milliseconds))
      }]
    ], { profile: fibers === 256 })
  }
  for (const party of [broker, client, rawServer, rawClient, ...redis === undefined ? [] : [redis]]) await party.stop()
}

const startRedis = async () => {
  const server = await Redis.start()
  if (server === undefined) return undefined
  const client = await start<RedisParty.Functions>("redis", String(server.port))
  return {
    client,
    stop: async () => {
      await client.stop()
      await server.stop()
    }
  }
}
