/**
 * What an operation costs the broker while there is a hundred times as much of something else: the processor time
 * of its process, which tells less of the machine's noise than the time that passes.
 */
import type { Bench, Metric } from "../harness/Bench.ts"
import { progress } from "../harness/Bench.ts"
import { type Party, start, stopAll } from "../harness/party.ts"
import type * as BrokerParty from "../parties/broker.ts"
import type * as BrowsersParty from "../parties/browsers.ts"
import type * as ClientParty from "../parties/client.ts"
import type * as WorkerParty from "../parties/worker.ts"

const metric: Metric = { name: "processor time", unit: "µs", better: "less" }
const steps = [1, 100]

/** How many rounds do not count, while what runs is compiled. */
const warmUps = 3

/** How many browsers subscribe, unsubscribe and trigger. */
const actors = 200

export const run = async (bench: Bench): Promise<void> => {
  const unit = bench.quick ? 20 : 50
  await growing(bench, "connections", steps.map((step) => step * unit), async (world, count) => {
    await world.connect(count)
  })
  if (!bench.quick) {
    await growing(bench, "open channels", steps.map((step) => step * 9 * unit), async (world, count) => {
      await world.broker.call("openChannels", "other", count)
    })
    await growing(bench, "subscribers of the channel", steps.map((step) => step * unit), async (world, count) => {
      await world.browsers.call("say", await world.connect(count), subscribe, subscribed)
    })
  }
  await queueing(bench, steps.map((step) => step * 10 * unit))
}

const subscribe = JSON.stringify({ subscribe: { channel: "crowd" } })
const unsubscribe = JSON.stringify({ unsubscribe: { channel: "crowd" } })
const trigger = JSON.stringify({ trigger: { event: "chat/say", data: { text: "hello" } } })
const subscribed = `{":subscribed"`

/** A broker, somebody who asks it, and its browsers. */
interface World {
  readonly broker: Party<BrokerParty.Functions>
  readonly client: Party<ClientParty.Functions>
  readonly browsers: Party<BrowsersParty.Functions>
  readonly url: string
  readonly actors: number
  readonly connect: (count: number) => Promise<number>
}

const makeWorld = async (browsers: World["browsers"], client: World["client"]): Promise<World> => {
  const broker = await start<BrokerParty.Functions>("broker")
  const urls = await broker.call("start", ["room", "crowd"], { queue: { capacity: 10_000_000, size: 2 ** 30 } })
  await client.call("connect", urls.zmq)
  const connect = (count: number) => browsers.call("connect", urls.browsers, count, `{":connected"`)
  const group = await connect(actors)
  const tokens = await broker.call("tokens", actors)
  await browsers.call("sayEach", group, tokens.map((token) => JSON.stringify({ auth: { token } })), `{":authenticated"`)
  await browsers.call("say", await connect(1), JSON.stringify({ subscribe: { channel: "room" } }), subscribed)
  return { broker, client, browsers, url: urls.zmq, actors: group, connect }
}

/** Gives how many operations there were. */
type Operation = (world: World, milliseconds: number) => Promise<number>

const answered = (text: string, expected: string): Operation => (world) =>
  world.browsers.call("say", world.actors, text, expected)

const operations: Record<string, Operation> = {
  "a broadcast to one subscriber": async ({ client, url }, milliseconds) =>
    (await client.call("request", url, "room", 64, milliseconds)).operations,
  "to subscribe": answered(subscribe, subscribed),
  "to unsubscribe": answered(unsubscribe, `{":unsubscribed"`),
  "to trigger": (world) => triggerAll(world, actors * 5)
}

// While there is no worker they all wait.
const triggerAll = async ({ actors: group, broker, browsers }: World, count: number): Promise<number> => {
  const before = await broker.call("waiting")
  await browsers.call("repeat", group, trigger, count)
  await broker.call("wait", before + count)
  return count
}

const growing = async (
  bench: Bench,
  what: string,
  counts: ReadonlyArray<number>,
  grow: (world: World, count: number) => Promise<void>
): Promise<void> => {
  const [browsers, client] = await Promise.all([
    start<BrowsersParty.Functions>("browsers"),
    start<ClientParty.Functions>("client")
  ])
  const worlds: Array<World> = []
  for (const count of counts) {
    progress(`${bench.scenario}: ${count} ${what}`)
    const world = await makeWorld(browsers, client)
    await grow(world, count)
    worlds.push(world)
  }
  const samples = counts.map(() => Object.keys(operations).map((): Array<number> => []))
  const rounds = bench.quick ? bench.rounds : 2 * bench.rounds - 1
  for (let round = 1 - warmUps; round <= rounds; round++) {
    progress(
      `${bench.scenario}: ${counts.join(" and ")} ${what}, ${round > 0 ? `round ${round} of ${rounds}` : "warming up"}`
    )
    const costs = await costsOf(worlds, bench)
    if (round <= 0) continue
    costs.forEach((all, index) => all.forEach((cost, operation) => samples[index]![operation]!.push(cost)))
  }
  for (const [operation, name] of Object.keys(operations).entries()) {
    bench.add(
      `${name}, by ${what}`,
      metric,
      Object.fromEntries(counts.map((count, index) => [`${count} ${what}`, samples[index]![operation]!]))
    )
  }
  await stopAll(client, browsers, ...worlds.map(({ broker }) => broker))
}

const cpuOf = async ({ broker }: World): Promise<number> => (await broker.call("usage")).cpu

// What each operation costs in each world. The worlds alternate, so that the machine is as fast for all of them. Subscribing and
// unsubscribing do, too, until there were enough of each to measure.
const costsOf = async (worlds: ReadonlyArray<World>, bench: Bench): Promise<ReadonlyArray<ReadonlyArray<number>>> => {
  const all = worlds.map((world) =>
    Object.values(operations).map((operation) => ({ world, operation, micros: 0, count: 0 }))
  )
  for (let turn = 0; turn < (bench.quick ? 2 : 5); turn++) {
    for (const operation of all[0]!.keys()) {
      for (const costs of turn % 2 === 0 ? all : all.toReversed()) {
        const one = costs[operation]!
        const before = await cpuOf(one.world)
        one.count += await one.operation(one.world, bench.turn / 4)
        one.micros += await cpuOf(one.world) - before
      }
    }
  }
  return all.map((costs) => costs.map(({ count, micros }) => micros / count))
}

// How a queue is filled and, once there is a worker, emptied.
const queueing = async (bench: Bench, counts: ReadonlyArray<number>): Promise<void> => {
  const [browsers, client] = await Promise.all([
    start<BrowsersParty.Functions>("browsers"),
    start<ClientParty.Functions>("client")
  ])
  const world = await makeWorld(browsers, client)
  const worker = await start<WorkerParty.Functions>("worker")
  let left = 0
  let emptied = (): void => {}
  worker.counts((more) => {
    if ((left -= more) <= 0) emptied()
  })
  // The processor time of filling and of emptying.
  const cycle = async (count: number): Promise<readonly [number, number]> => {
    const before = await cpuOf(world)
    // Always so many at a time: those that come together cost less, and that is not what is measured here.
    for (let waiting = 0; waiting < count; waiting += counts[0]!) await triggerAll(world, counts[0]!)
    const full = await cpuOf(world)
    left = count
    const empty = new Promise<void>((resolve) => void (emptied = resolve))
    await worker.call("listen", world.url, 1)
    if (count > 0) await empty
    await worker.call("stop")
    return [full - before, await cpuOf(world) - full]
  }
  const cycles = async (count: number, times: number) => {
    const costs: Array<readonly [number, number]> = []
    for (let i = 0; i < times; i++) costs.push(await cycle(count))
    return [0, 1].map((phase) => costs.reduce((sum, cost) => sum + cost[phase]!, 0) / times)
  }
  const filling = counts.map((): Array<number> => [])
  const emptying = counts.map((): Array<number> => [])
  for (let round = 0; round <= bench.rounds; round++) {
    // That a worker comes and goes costs something, too, and is not what is measured here.
    const [, coming] = await cycles(0, bench.quick ? 5 : 20)
    for (const [index, count] of counts.entries()) {
      progress(`${bench.scenario}: ${count} events that wait, round ${round} of ${bench.rounds}`)
      // As often as it takes to have as many in all.
      const [fill, empty] = await cycles(count, Math.min(bench.quick ? 10 : 20, counts.at(-1)! / count))
      if (round === 0) continue
      filling[index]!.push(fill! / count)
      emptying[index]!.push((empty! - coming!) / count)
    }
  }
  const named = (samples: ReadonlyArray<ReadonlyArray<number>>) =>
    Object.fromEntries(counts.map((count, index) => [`${count} events`, samples[index]!]))
  bench.add("to trigger an event that waits, by how many do", metric, named(filling))
  bench.add("to hand one of them to a worker, by how many wait", metric, named(emptying))
  await stopAll(world.broker, client, browsers, worker)
}
