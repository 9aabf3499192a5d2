import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { Client, Kosmonaut } from "../../../src/index.ts"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import { Broker, BrokerConfig, Store, Vhosts } from "../../../src/server/index.ts"
import * as Admin from "../../harness/admin.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import { logged } from "../../harness/logged.ts"
import { describeWithRedis, type RedisServer, start } from "../../harness/redisServer.ts"
import * as TcpProxy from "../../harness/TcpProxy.ts"
import { token } from "../../harness/TestBroker.ts"

const free = { websocketPort: 0, backendPort: 0, tcpPort: 0, admin: { port: 0 } }
const vhosts = [{ path: "/test", token, channels: ["room"] }]

/** A node of the cluster that has this Redis, until the scope ends. */
const nodeOf = ({ url }: Pick<RedisServer, "url">, options: BrokerConfig.Options = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(Broker.layer(BrokerConfig.merge({ ...free, vhosts, redis: { url } }, options)))),
    (context) => ({ broker: Context.get(context, Broker.Broker), vhosts: Context.get(context, Vhosts.Vhosts) })
  )

type Node = Effect.Success<ReturnType<typeof nodeOf>>

/** What an administrator gets. */
const get = ({ broker: { admin } }: Node, path: string) =>
  Effect.map(
    Admin.send(admin!.port, "GET", path, { headers: { [Admin.header]: Redacted.value(admin!.cookie) } }),
    ({ body, status }) => ({ status, body: JSON.parse(body) })
  )

describeWithRedis("A broker with Redis", () => {
  it.live("is a node, which the others list", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const [one, other] = [yield* nodeOf(server, { nodeName: "one" }), yield* nodeOf(server, { nodeName: "other" })]
      yield* Browser.connect(`${one.broker.addresses.websocket}/test`)
      const listed = yield* eventually(
        get(other, "/api/nodes"),
        ({ body }) => body.nodes.some(({ load }: { load: { browsers?: number } }) => load.browsers === 1)
      )
      const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name)
      expect(listed.body.nodes.toSorted(byName)).toMatchObject([
        {
          name: "one",
          node: expect.stringMatching(/^[0-9a-f]{8}$/),
          version: "0.1.0",
          load: { browsers: 1, workers: 0 }
        },
        { name: "other" }
      ])
      expect((yield* get(one, "/ready")).status).toBe(200)
    }))

  it.live("has the channels and browsers of all nodes, also one that starts later", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const one = yield* nodeOf(server, { nodeName: "one" })
      const here = yield* one.vhosts.get("/test")
      yield* here.channels.open("later")
      yield* Browser.connect(`${one.broker.addresses.websocket}/test`)
      const other = yield* nodeOf(server, { nodeName: "other" })
      const there = yield* other.vhosts.get("/test")
      expect((yield* there.channels.list).map(({ name }) => name)).toEqual(["room", "later"])
      expect(yield* there.counts).toMatchObject({ browsers: 1, channels: 2 })
      yield* there.channels.close("room")
      yield* eventually(here.counts, ({ channels }) => channels === 1)
    }))

  it.live("puts the broadcasts that a Client has in flight into few entries of the log, in their order", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const node = yield* nodeOf(server, { channelRules: [{ pattern: "room", history: { count: 1000 } }] })
      const redis = yield* Connection.make(server.url)
      const { backend: url } = node.broker.urls(yield* node.vhosts.get("/test"))
      const client = Context.get(yield* Layer.build(Kosmonaut.layer({ url })), Client.Client)
      const numbers = Array.from({ length: 500 }, (_, n) => n)
      const logs = (yield* redis.send("SMEMBERS", Keys.logs)) as ReadonlyArray<string>
      const count = Effect.map(
        Effect.forEach(logs, (name) => redis.send("XLEN", Keys.log(name))),
        (lengths) => lengths.reduce<number>((sum, length) => sum + Number(length), 0)
      )
      const before = yield* count
      yield* Effect.forEach(numbers, (n) => client.broadcast("room", "said", { n }), { concurrency: "unbounded" })
      yield* client.broadcastAll(numbers.map((n) => ({ channel: "room", event: "said", data: { n: 500 + n } })))
      const entries = (yield* count) - before
      expect(entries).toBeGreaterThan(1)
      expect(entries).toBeLessThan(200)
      const retained = yield* Stream.runCollect(client.history("room"))
      expect(retained.map(({ data }) => data["n"])).toEqual(Array.from({ length: 1000 }, (_, n) => n))
    }))

  it.live("starts anew on the same ports when its lease is lost, and its browsers come back", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { layer, lines } = logged("Info")
      const node = yield* Effect.provide(nodeOf(server), layer)
      const redis = yield* Connection.make(server.url)
      const url = `${node.broker.addresses.websocket}/test`
      const browser = yield* Browser.connect(url)
      const [before] = (yield* redis.send("ZRANGE", Keys.leases, "0", "-1")) as ReadonlyArray<string>
      const begun = performance.now()
      yield* redis.send("ZREM", Keys.leases, before!)
      expect(yield* browser.closed).toBe(1001)
      yield* eventually(Effect.exit(Browser.connect(url)), Exit.isSuccess)
      // What it could not say to the others any more it has not waited for.
      expect(performance.now() - begun).toBeLessThan(8000)
      const [after] = (yield* redis.send("ZRANGE", Keys.leases, "0", "-1")) as ReadonlyArray<string>
      expect(after).not.toBe(before)
      expect((yield* node.vhosts.list).map(({ path }) => path)).toEqual(["/test"])
      expect((yield* get(node, "/api/nodes")).body.nodes).toHaveLength(1)
      expect(lines.join("\n")).toContain(`The node ${before} has lost its lease`)
    }))

  it.live("starts anew when its event queue does not know it any more", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { layer, lines } = logged("Info")
      const node = yield* Effect.provide(nodeOf(server), layer)
      const redis = yield* Connection.make(server.url)
      // A replica that did not have its last turns becomes the primary.
      yield* redis.send("DEL", `${Keys.ofVhost("/test#1", "queue")}:nodes`)
      yield* eventually(
        Effect.sync(() => lines.join("\n")),
        (text) => text.includes("does not know this node any more")
      )
      const vhost = yield* node.vhosts.get("/test")
      expect((yield* vhost.counts).channels).toBe(1)
    }))

  it.live.each(["kill", "freeze"] as const)("ends soon without Redis: %s", (fault) =>
    Effect.gen(function*() {
      const server = yield* start()
      const scope = yield* Scope.make()
      const node = yield* Scope.provide(nodeOf(server), scope)
      const browser = yield* Browser.connect(`${node.broker.addresses.websocket}/test`)
      yield* server[fault]
      const begun = performance.now()
      yield* Scope.close(scope, Exit.void)
      // Its endpoints have 5 seconds, what it leaves to others 2, and its lease one.
      expect(performance.now() - begun).toBeLessThan(10_000)
      expect(yield* browser.closed).toBe(1001)
    }))

  it.live("is not ready while Redis cannot be reached, and says so", () =>
    Effect.gen(function*() {
      const server = yield* start({ persistence: "aof" })
      const node = yield* nodeOf(server)
      yield* server.kill
      const answer = yield* eventually(get(node, "/ready"), ({ status }) => status === 503)
      expect(answer.body.problems).toEqual(["Redis cannot be reached"])
      expect((yield* get(node, "/health")).status).toBe(200)
      yield* server.restart
      yield* eventually(get(node, "/ready"), ({ status }) => status === 200)
    }))

  it.live("is not ready while nothing comes back from the log, though all connections stand", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const proxy = yield* TcpProxy.make(server.port)
      const node = yield* nodeOf({ url: Redacted.make(`redis://127.0.0.1:${proxy.port}`) })
      expect((yield* get(node, "/ready")).status).toBe(200)
      yield* proxy.stall
      const { body, status } = yield* get(node, "/ready")
      expect([status, body.problems]).toEqual([503, ["broadcasts do not come back from the log within 2 seconds"]])
      yield* proxy.goOn
      yield* eventually(get(node, "/ready"), ({ status }) => status === 200)
    }))

  it.live.each<[string, BrokerConfig.Options, string]>([
    [
      "a URL of something else",
      { redis: { url: "http://:secretword@127.0.0.1" } },
      "The option redis.url cannot be what was given"
    ],
    [
      "a URL with a wrong database",
      { redis: { url: "redis://:secretword@127.0.0.1/a" } },
      "The option redis.url cannot be"
    ],
    [
      "a folder",
      { redis: { url: "redis://127.0.0.1:1" }, storageDir: "/nowhere" },
      "The option storageDir cannot be \"/nowhere\""
    ],
    ["a Redis that is not there", { redis: { url: "redis://:secretword@127.0.0.1:1" } }, "Redis cannot be reached: "]
  ])("does not start with %s", ([, options, message]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(Broker.layer({ ...free, vhosts, ...options })))
      expect(error.message).toContain(message)
      expect(JSON.stringify(error) + error.message).not.toContain("secretword")
    }))

  it.live("does not start with a store of its own", () =>
    Effect.gen(function*() {
      const broker = Broker.layerNoStore({ ...free, vhosts, redis: { url: "redis://:secretword@127.0.0.1:1" } })
      const error = yield* Effect.flip(Layer.build(Layer.provide(broker, Store.layerMemory)))
      expect(error.message).toContain("The option redis.url cannot be given")
      expect(JSON.stringify(error) + error.message).not.toContain("secretword")
    }))
})
