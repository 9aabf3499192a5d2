import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { Client, Kosmonaut, Worker } from "../../../src/index.ts"
import { InternalError, UnauthorizedError } from "../../../src/protocol/KosmonautError.ts"
import { VhostExistsError, VhostNotFoundError } from "../../../src/server/BrokerError.ts"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import { Broker, type BrokerConfig, Vhosts } from "../../../src/server/index.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import { logged } from "../../harness/logged.ts"
import { describeWithRedis, type RedisServer, start } from "../../harness/redisServer.ts"
import { token } from "../../harness/TestBroker.ts"

const vhosts = [{ path: "/test", token, channels: ["room"] }]

/** A node of the cluster that has this Redis, until the scope ends. */
const nodeOf = ({ url }: Pick<RedisServer, "url">, options: BrokerConfig.Options = { vhosts }) =>
  Effect.map(
    Layer.build(
      Layer.fresh(Broker.layer({ websocketPort: 0, backendPort: 0, tcpPort: 0, ...options, redis: { url } }))
    ),
    (context) => ({ broker: Context.get(context, Broker.Broker), vhosts: Context.get(context, Vhosts.Vhosts) })
  )

type Node = Effect.Success<ReturnType<typeof nodeOf>>

/** A backend that shows this token to a node. */
const backend = ({ broker }: Node, token: Redacted.Redacted, path = "/test") =>
  Layer.build(Layer.fresh(Kosmonaut.layer({ url: broker.urls({ path, token }).backend })))

/** A worker that listens at a node: how that ends. */
const listening = Effect.fnUntraced(function*(node: Node, token: Redacted.Redacted) {
  const worker = Context.get(yield* backend(node, token), Worker.Worker)
  const vhost = yield* node.vhosts.get("/test")
  const before = (yield* vhost.counts).workers
  const fiber = yield* Effect.forkScoped(
    Effect.flip(worker.listen({ onMessage: () => Effect.void, onException: () => Effect.void }))
  )
  yield* eventually(vhost.counts, ({ workers }) => workers > before)
  return fiber
})

const pathsOf = ({ vhosts }: Node) => Effect.map(vhosts.list, (all) => all.map(({ path }) => path))

describeWithRedis("The vhosts of several nodes", () => {
  it.live("have the tokens that were given to them at any node, and removed ones end their connections at all", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const first = Redacted.make(token)
      const second = yield* one.vhosts.addToken("/test")
      // At once, without a word from the first node.
      const [old, stays] = [yield* listening(other, first), yield* listening(other, second)]
      expect(yield* one.vhosts.removeToken("/test", first)).toBe(true)
      expect(yield* Fiber.join(old)).toBeInstanceOf(UnauthorizedError)
      expect(stays.pollUnsafe()).toBeUndefined()
      const third = yield* other.vhosts.regenerateToken("/test")
      expect(yield* Fiber.join(stays)).toBeInstanceOf(UnauthorizedError)
      for (const node of [one, other]) {
        const client = Context.get(yield* backend(node, third), Client.Client)
        yield* client.broadcast("room", "said", {})
      }
      // Of changes at the same time none is lost.
      const tokens = yield* Effect.forEach(
        Array.from({ length: 8 }, (_, index) => [one, other][index % 2]!),
        ({ vhosts }) => vhosts.addToken("/test"),
        { concurrency: "unbounded" }
      )
      for (const { vhosts } of [one, other]) {
        const vhost = yield* vhosts.get("/test")
        const all = yield* eventually(vhost.tokens, ({ length }) => length === 9)
        expect(all.map(Redacted.value).toSorted()).toEqual([third, ...tokens].map(Redacted.value).toSorted())
      }
    }))

  it.live("are added and removed at all, and leave nothing to the next one with the path", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const redis = yield* Connection.make(server.url)
      const keys = Effect.map(redis.send("KEYS", "*{/new#*"), (keys) => keys as ReadonlyArray<string>)
      const nodes = redis.send("ZRANGE", Keys.leases, "0", "-1")
      const before = (yield* nodes) as ReadonlyArray<string>
      const added = yield* one.vhosts.add({ path: "/new", channels: ["hall"] })
      yield* eventually(pathsOf(other), ({ length }) => length === 2)
      const vhost = yield* other.vhosts.get("/new")
      expect(Redacted.value(vhost.token)).toBe(Redacted.value(added.token))
      yield* eventually(vhost.channels.list, (list) => list.some(({ name }) => name === "hall"))
      expect(yield* Effect.flip(other.vhosts.add({ path: "/new" }))).toBeInstanceOf(VhostExistsError)
      const browser = yield* Browser.connect(`${one.broker.addresses.websocket}/new`)
      yield* Context.get(yield* backend(other, vhost.token, "/new"), Client.Client).broadcast("hall", "said", {})
      const single = yield* vhost.issueToken("joe", ".*")
      expect(yield* keys).not.toEqual([])
      yield* other.vhosts.remove("/new")
      yield* browser.closed
      yield* eventually(pathsOf(one), (paths) => paths.length === 1)
      expect(yield* Effect.flip(one.vhosts.remove("/new"))).toBeInstanceOf(VhostNotFoundError)
      yield* eventually(keys, (keys) => keys.every((key) => key.includes(":token")))
      // No node had to start anew.
      expect(new Set((yield* nodes) as ReadonlyArray<string>)).toEqual(new Set(before))
      const again = yield* one.vhosts.add({ path: "/new" })
      expect(yield* again.channels.list).toEqual([])
      const stranger = yield* Browser.connect(`${one.broker.addresses.websocket}/new`)
      yield* stranger.send({ auth: { token: Redacted.value(single) } })
      yield* stranger.nextOf(":error")
    }))

  it.live("have the rules that were set last at any node, and show them at all", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server), yield* nodeOf(server)]
      const [here, there] = [yield* one.vhosts.get("/test"), yield* other.vhosts.get("/test")]
      yield* here.setChannelRules([{ pattern: "on-.*", openOnDemand: true }])
      const patterns = (vhost: Vhosts.Vhost) =>
        Effect.map(vhost.channelRules, (all) => all.map(({ pattern }) => pattern))
      yield* eventually(patterns(there), ([pattern]) => pattern === "on-.*")
      const client = Context.get(yield* backend(other, there.token), Client.Client)
      yield* client.broadcast("on-demand", "said", {})
      // Of several at the same time all nodes have the same, and channels are like that.
      yield* Effect.forEach(
        Array.from({ length: 6 }, (_, index) => index),
        (index) => [here, there][index % 2]!.setChannelRules([{ pattern: `rule-${index}`, openOnDemand: true }]),
        { concurrency: "unbounded" }
      )
      const both = Effect.all([patterns(here), patterns(there)])
      const [[last]] = yield* eventually(both, ([[here], [there]]) => here === there)
      yield* client.broadcast(last!, "said", {})
      yield* Effect.flip(client.broadcast("on-demand", "said", {}))
      const later = yield* (yield* nodeOf(server)).vhosts.get("/test")
      expect(yield* patterns(later)).toEqual([last])
      yield* client.broadcast(last!, "said", {})
    }))

  it.live("outlast all nodes, and those that the options of a node have are added if they are not there", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const scope = yield* Scope.make()
      const [one, other] = yield* Scope.provide(
        Effect.all([nodeOf(server, { vhosts: [{ path: "/a" }, { path: "/test", token }] }), nodeOf(server)]),
        scope
      )
      yield* eventually(pathsOf(other), ({ length }) => length === 2)
      const made = yield* one.vhosts.get("/a")
      yield* one.vhosts.remove("/test")
      const rotated = yield* Effect.andThen(
        eventually(Effect.exit(other.vhosts.add({ path: "/test" })), Exit.isSuccess),
        other.vhosts.regenerateToken("/test")
      )
      yield* Scope.close(scope, Exit.void)
      const { layer, lines } = logged("Warn")
      const later = yield* Effect.provide(nodeOf(server), layer)
      expect(yield* pathsOf(later)).toEqual(["/test", "/a"])
      const tokens = yield* Effect.forEach(
        yield* later.vhosts.list,
        ({ token }) => Effect.succeed(Redacted.value(token))
      )
      expect(tokens).toEqual([rotated, made.token].map(Redacted.value))
      expect(lines.filter((line) => line.includes("/test"))).toEqual([
        expect.stringContaining("The access token of this node's options does not open the vhost /test")
      ])
      // And one that starts at the same time as others adds no second one.
      const path = "/many"
      const nodes = yield* Effect.all(Array.from({ length: 3 }, () => nodeOf(server, { vhosts: [{ path }] })), {
        concurrency: "unbounded"
      })
      const all = yield* Effect.forEach(nodes, ({ vhosts }) => vhosts.get(path))
      expect(new Set(all.map(({ token }) => Redacted.value(token))).size).toBe(1)
    }))

  it.live("have the limits and rules in the options of the node that started last, and every node says so", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { layer, lines } = logged("Info")
      const one = yield* Effect.provide(nodeOf(server), layer)
      yield* nodeOf(server)
      const said = () => lines.filter((line) => line.includes("of the node"))
      const rules = [{ pattern: "on-.*", openOnDemand: true }]
      const other = yield* nodeOf(server, { vhosts, channelRules: rules, maxChannels: 7 })
      yield* eventually(Effect.sync(said), ({ length }) => length > 1)
      expect(said()).toEqual([
        expect.stringMatching(/^INFO The limits are those of the node [0-9a-f]{8} now$/),
        expect.stringMatching(/^INFO The rules of channels are those of the node [0-9a-f]{8} now$/)
      ])
      const vhost = yield* one.vhosts.get("/test")
      yield* Context.get(yield* backend(one, vhost.token), Client.Client).broadcast("on-demand", "said", {})
      // What is set by a vhost comes before what the options of that node have.
      yield* (yield* other.vhosts.get("/test")).setChannelRules([{ pattern: "own" }])
      yield* eventually(vhost.channelRules, ([rule]) => rule?.pattern === "own")
    }))

  it.live("are not changed while Redis cannot be reached", () =>
    Effect.gen(function*() {
      const server = yield* start({ persistence: "aof" })
      const node = yield* nodeOf(server)
      yield* server.kill
      expect(yield* Effect.flip(node.vhosts.regenerateToken("/test"))).toBeInstanceOf(InternalError)
      const client = yield* node.vhosts.get("/test")
      expect(Redacted.value(client.token)).toBe(token)
      yield* server.restart
      yield* eventually(Effect.exit(node.vhosts.regenerateToken("/test")), Exit.isSuccess)
    }))
})
