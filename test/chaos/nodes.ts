/**
 * Several nodes with one Redis behind a balancer, which gives each connection to any of them that runs: whoever connects again is
 * likely elsewhere.
 */
import { Duration, Effect, Random, type Scope } from "effect"
import type { Client } from "../../src/index.ts"
import { eventually } from "../harness/eventually.ts"
import * as RedisServer from "../harness/redisServer.ts"
import * as TcpProxy from "../harness/TcpProxy.ts"
import { freePort, startBroker } from "./processes.ts"
import { clientOf } from "./senders.ts"
import * as Visitors from "./visitors.ts"
import * as World from "./world.ts"

/** The nodes, and what they know. */
export interface Nodes extends World.World {
  /** A Client of each. */
  readonly clients: ReadonlyArray<Client.Client["Service"]>
  /** The connections that each has in its list, those of the others, too. */
  readonly sids: Effect.Effect<ReadonlyArray<ReadonlyArray<string>>>
}

/** More than a lease has, and the time in which others find that it is over. */
const longerThanLease = Duration.seconds(9)

/** How long a node may take to end in order, in milliseconds, whatever Redis does. Workers and browsers have their part of it. */
const endTime = 10_000

/** Starts Redis, and as many nodes. */
export const make = Effect.fnUntraced(function*(
  folder: string,
  options: World.Options,
  count: number
): Effect.fn.Return<Nodes, never, Scope.Scope> {
  const redis = yield* RedisServer.start({ persistence: "aof" })
  const names = Array.from({ length: count }, (_, index) => `node ${index}`)
  const nodes = yield* Effect.forEach(names, (name) => makeNode(redis, name, options), { concurrency: "unbounded" })
  const anyOf = (port: keyof Node["ports"]) => () => {
    const up = nodes.filter(({ broker }) => broker.isUp())
    return (up[Math.floor(Math.random() * up.length)] ?? nodes[0]!).ports[port]
  }
  const { proxies, urls } = yield* World.makeNetwork({
    websocketPort: anyOf("websocketPort"),
    backendPort: anyOf("backendPort"),
    tcpPort: anyOf("tcpPort")
  })
  const team = yield* World.makeTeam(folder, urls.backends, { ...options, lifecycle: true })
  const ofAll = <A>(ask: (node: Node) => Effect.Effect<A | undefined>) =>
    Effect.map(
      Effect.forEach(nodes, ask, { concurrency: "unbounded" }),
      (answers) => answers.flatMap((answer) => answer === undefined ? [] : [answer])
    )
  const state = yield* World.watch(ofAll(({ broker }) => broker.ask("state")))
  // Nobody gets the lifecycle events of before.
  yield* eventually(Effect.sync(state.latest), ({ workers }) => workers > 0)
  const letters = Effect.map(ofAll(({ broker }) => broker.ask("letters")), ([first]) => first!.letters)
  const faults: Array<string> = []
  return {
    urls: { ...urls, control: urls.backends[1] },
    team,
    pace: 1500,
    // Redis forgets nothing.
    restarts: [],
    faults: () => [...faults, ...nodes.flatMap(({ broker }) => broker.faults)],
    ...state,
    drained: (confirmed) => drained(folder, confirmed, letters, options.patience),
    letters,
    clients: yield* Effect.forEach(
      nodes,
      ({ ports }) => Effect.orDie(clientOf(`wr+tcp://${World.address(ports.tcpPort)}`))
    ),
    sids: Effect.map(ofAll(({ broker }) => broker.ask("browsers")), (answers) => answers.map(({ sids }) => sids)),
    deeds: {
      ...World.workerDeeds(team),
      ...World.networkDeeds(proxies),
      ...nodeDeeds(nodes, faults),
      ...redisDeeds(redis)
    }
  }
})

type Node = Effect.Success<ReturnType<typeof makeNode>>

/** A node, with a network of its own to Redis. */
const makeNode = Effect.fnUntraced(function*(redis: RedisServer.RedisServer, name: string, options: World.Options) {
  const proxy = yield* TcpProxy.make(redis.port)
  const ports = { websocketPort: yield* freePort, backendPort: yield* freePort, tcpPort: yield* freePort }
  const { channelRules = [], queue, vhosts: [vhost], ...rest } = World.brokerOptions(options)
  const broker = yield* startBroker({
    ...ports,
    ...rest,
    // The oldest lifecycle events are dropped if more wait.
    queue: { ...queue, capacity: 1000 },
    vhosts: [{ ...vhost!, channels: [...vhost!.channels, Visitors.channel] }],
    channelRules: [...channelRules, { pattern: "presence-.*", grace: 500 }],
    redis: { url: `redis://127.0.0.1:${proxy.port}` },
    nodeName: name
  }, { retries: true, replacements: options.replacements })
  return { name, broker, ports, proxy }
})

// Nothing is left when all has been handled or has failed for good.
const drained = (
  folder: string,
  confirmed: ReadonlySet<number>,
  letters: World.World["letters"],
  patience: Duration.Input = "1 minute"
) => {
  const left = Effect.gen(function*() {
    const { handlings } = yield* World.readAll(folder)
    const ended = new Set([
      ...handlings.map(({ n }) => n),
      ...(yield* letters).map(({ json }) => JSON.parse(json).count?.n)
    ])
    return [...confirmed].filter((n) => !ended.has(n))
  })
  const none = eventually(Effect.delay(left, "300 millis"), (left) => left.length === 0, Infinity)
  return none.pipe(
    Effect.timeoutOrElse({ duration: patience, orElse: () => left }),
    Effect.map((left) => left.length === 0 ? [] : [`${left.length} events wait for ever`])
  )
}

// --- What can happen -------------------------------------------------------------------------------------------------

const nodeDeeds = (nodes: ReadonlyArray<Node>, faults: Array<string>) => {
  const nodeKilled: World.Deed = Effect.fnUntraced(function*(place) {
    yield* nodes[place]!.broker.killAndStart
    return Effect.void
  })
  const nodeEnded: World.Deed = Effect.fnUntraced(function*(place) {
    const { broker, name } = nodes[place]!
    const took = yield* broker.endAndStart
    if (took > endTime) faults.push(`${name} took ${Math.round(took)} ms to end`)
    return Effect.void
  })
  const redisCut: World.Deed = Effect.fnUntraced(function*(place) {
    const { proxy } = nodes[place]!
    yield* proxy.cut((yield* Random.nextBoolean) ? "all" : 0)
    // Also while the node reconnects.
    for (let more = yield* Random.nextIntBetween(0, 4); more > 0; more--) {
      yield* Effect.flatMap(Random.nextBetween(20, 400), Effect.sleep)
      yield* proxy.cut("all")
    }
    return Effect.void
  })
  return {
    nodeKilled,
    nodeEnded,
    nodePaused: ((place) => World.pause(nodes[place]!.broker, Duration.seconds(1))) satisfies World.Deed,
    nodeFrozen: ((place) => World.pause(nodes[place]!.broker, longerThanLease)) satisfies World.Deed,
    redisCut,
    redisStalled: ((place) => World.stall(nodes[place]!.proxy, Duration.seconds(4), false)) satisfies World.Deed,
    redisLost: ((place) => World.stall(nodes[place]!.proxy, longerThanLease, true)) satisfies World.Deed
  }
}

const redisDeeds = (redis: RedisServer.RedisServer) => {
  const redisKilled: World.Deed = Effect.fnUntraced(function*() {
    yield* redis.kill
    yield* Effect.flatMap(Random.nextBetween(0, 2000), Effect.sleep)
    yield* redis.restart
    return Effect.void
  })
  const redisFrozen: World.Deed = Effect.fnUntraced(function*() {
    yield* redis.freeze
    return Effect.ensuring(Effect.flatMap(Random.nextBetween(500, 8000), Effect.sleep), redis.thaw)
  })
  return { redisKilled, redisFrozen }
}
