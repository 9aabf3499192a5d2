/**
 * The least that an event costs Redis: `node test/bench/floors/queue.ts` enqueues, claims and acks events in turns, by the queue's own script
 * and by one that only does what is unavoidable. That one has no state and no limits, and checks nothing.
 */
import { Effect, Redacted } from "effect"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Nodes from "../../../src/server/cluster/Nodes.ts"
import * as RedisQueues from "../../../src/server/cluster/RedisQueues.ts"
import * as Script from "../../../src/server/cluster/Script.ts"
import * as Limits from "../../../src/server/engine/internal/limits.ts"
import { spreadOf } from "../harness/Bench.ts"
import * as Redis from "../harness/redis.ts"

/** `ARGV` is how many, the number before the first, their texts, and the numbers of those before them. */
const unavoidable = Script.make(`local call, n, before = redis.call, tonumber(ARGV[1]), tonumber(ARGV[2])
local texts, numbers, format = {}, {}, string.format
for index = 1, n do
  local number = format('%d', before + index)
  numbers[index], texts[2 * index - 1], texts[2 * index] = number, number, ARGV[2 + index]
end
call('HSET', 'events', '-', string.rep('-', 65), unpack(texts))
call('SADD', 'held', unpack(numbers))
call('SREM', 'held', unpack(ARGV, n + 3, 2 * n + 2))
call('HDEL', 'events', unpack(ARGV, n + 3, 2 * n + 2))
return numbers[1]`)

const none = { workers: 0, credits: 0, idle: 0 }
const json = JSON.stringify({ "chat/say": { text: "hello" } })

const main = Effect.gen(function*() {
  const redis = yield* Effect.promise(Redis.start)
  if (redis === undefined) return console.log("There is no redis-server on the PATH.")
  const connection = yield* Connection.make(Redacted.make(redis.url))
  const nodes = yield* Nodes.make(connection, { name: "a", version: "0.1.0" })
  const queue = RedisQueues.make({ connection, nodes }).queueOf("/bench", Limits.fromConfig(yield* BrokerConfig.make()))
  let [turn, last, held, sizes] = [0, 0, new Array<number>(), new Array<number>()]
  const own = (count: number) =>
    Effect.map(
      queue.run({
        number: ++turn,
        settled: held.length === 0 ? [] : [{ numbers: held, sizes, outcome: { _tag: "Acked" } }],
        calls: Array.from({ length: count }, () =>
          ({ _tag: "Enqueue", lane: "events", json, origin: undefined, size: json.length, delay: 0 }) as never),
        capacity: { events: { workers: 1, credits: count, idle: 1 }, requests: none, lifecycle: none },
        responsesSeen: 0,
        takesResponses: false,
        isPoll: false
      }),
      ({ claimed }) => {
        held = claimed.map(({ number }) =>
          number
        )
        sizes = claimed.map(({ size }) => size!)
      }
    )
  const least = (count: number) => {
    const numbers = Array.from({ length: count }, (_, index) => String(last - count + index + 1))
    const args = [count, last, ...numbers.map(() => `00 0 0 -\n${json}`), ...numbers]
    last += count
    return connection.run(unavoidable, [], args)
  }
  const cpu = Effect.map(Effect.promise(() => redis.call("usage")), ({ cpu }) => cpu)
  for (const count of [14, 64, 256]) {
    const samples = { own: new Array<number>(), least: new Array<number>() }
    for (let round = 0; round < 9; round++) {
      for (const [name, run] of [["own", own], ["least", least]] as const) {
        const before = yield* cpu
        for (let events = 0; events < 16_384; events += count) yield* run(count)
        if (round > 0) samples[name].push(((yield* cpu) - before) / 16_384)
      }
    }
    for (const [name, each] of Object.entries(samples)) {
      const { median, min } = spreadOf(each)
      console.log(`turns of ${count}, ${name}: ${median.toFixed(1)} (${min.toFixed(1)}) µs of Redis an event`)
    }
  }
  yield* Effect.promise(redis.stop)
})

await Effect.runPromise(Effect.scoped(main))
process.exit()
